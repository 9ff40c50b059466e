import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ColumnTypes } from './column-types.ts';

/** What the durable purchase keeps beside its records: attempts, rounds that are over, and captures that nobody settles. */
export const durable = ({
  schema,
  key,
  moment,
  now,
  finish,
  indexesForeignKeys,
}: ColumnTypes): Migration => ({
  async up(db: Kysely<unknown>) {
    const has = async (view: 'columns' | 'statistics', table: string, name: string) => {
      const column = view === 'columns' ? sql.ref('column_name') : sql.ref('index_name');
      const { rows } = await sql`
        select 1 from ${sql.ref(`information_schema.${view}`)}
         where table_schema = ${schema} and table_name = ${table} and ${column} = ${name}`.execute(db);
      return rows.length > 0;
    };
    // MySQL has no ADD COLUMN that may find it made already.
    if (!(await has('columns', 'lotto_publish', 'attempt'))) {
      await db.schema
        .alterTable('lotto_publish')
        .addColumn('attempt', 'integer', (column) => column.notNull().defaultTo(1))
        .execute();
    }
    for (const column of ['drawn_at', 'called_off_at']) {
      if (await has('columns', 'lotto_round_info', column)) continue;
      await db.schema.alterTable('lotto_round_info').addColumn(column, moment).execute();
    }

    await finish(
      db.schema
        .createTable('stray_capture')
        .ifNotExists()
        .addColumn('payment_key', key(200), (column) => column.primaryKey())
        .addColumn('order_id', key(64), (column) => column.notNull())
        .addColumn('attempt', 'integer', (column) => column.notNull())
        .addColumn('transaction_key', key(100), (column) => column.notNull())
        .addColumn('found_at', moment, (column) => column.notNull().defaultTo(now))
        .addColumn('refunded_at', moment)
        .addForeignKeyConstraint('stray_capture_of_order', ['order_id'], 'orders', ['order_id']),
    ).execute();

    const index = db.schema.createIndex('purchase_payment_key').on('purchase').column('payment_key');
    // PostgreSQL has IF NOT EXISTS for indexes, MySQL a view in which they stand.
    if (!indexesForeignKeys) await index.ifNotExists().execute();
    else if (!(await has('statistics', 'purchase', 'purchase_payment_key'))) await index.execute();
    if (!indexesForeignKeys) {
      await db.schema
        .createIndex('stray_capture_order')
        .ifNotExists()
        .on('stray_capture')
        .column('order_id')
        .execute();
    }
  },
});
