import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ColumnTypes } from './column-types.ts';

/**
 * Orders, publishes, purchases, bills.
 *
 * `purchase` and `bill` carry no unique constraint on the order, on purpose: each purchase strategy must be
 * judged by its own guard, and a constraint would hide what the wrong ones do.
 */
export const lotto = (types: ColumnTypes): Migration => ({
  async up(db: Kysely<unknown>) {
    const { key, moment, now, generatedId, indexesForeignKeys, finish } = types;
    // MySQL passes over a REFERENCES that stands at its column, so foreign keys have lines of their own.
    const table = (name: string) => db.schema.createTable(name).ifNotExists();

    await finish(
      table('lotto_round_info')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('sales_open_at', moment, (column) => column.notNull())
        .addColumn('sales_close_at', moment, (column) => column.notNull())
        .addCheckConstraint('lotto_round_info_window', sql`sales_open_at < sales_close_at`),
    ).execute();

    await finish(
      table('orders')
        .addColumn('order_id', key(64), (column) => column.primaryKey())
        .addColumn('member_id', 'bigint', (column) => column.notNull())
        .addColumn('amount', 'integer', (column) => column.notNull())
        .addColumn('currency', 'char(3)', (column) => column.notNull())
        .addColumn('created_at', moment, (column) => column.notNull().defaultTo(now))
        .addCheckConstraint('orders_amount', sql`amount > 0`),
    ).execute();

    await finish(
      table('lotto_publish')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('order_id', key(64), (column) => column.notNull())
        .addColumn('lotto_round_info_id', 'integer', (column) => column.notNull())
        .addColumn('status', 'varchar(16)', (column) => column.notNull())
        .addColumn('version', 'integer', (column) => column.notNull().defaultTo(0))
        .addColumn('payment_key', key(200))
        .addColumn('payment_outcome', 'varchar(16)')
        .addColumn('payment_code', 'varchar(64)')
        .addUniqueConstraint('lotto_publish_order', ['order_id'])
        .addForeignKeyConstraint('lotto_publish_of_order', ['order_id'], 'orders', ['order_id'])
        .addForeignKeyConstraint('lotto_publish_in_round', ['lotto_round_info_id'], 'lotto_round_info', [
          'id',
        ]),
    ).execute();

    await finish(
      table('lotto_ticket')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('lotto_publish_id', 'bigint', (column) => column.notNull())
        .addColumn('numbers', 'varchar(17)', (column) => column.notNull())
        .addForeignKeyConstraint('lotto_ticket_of_publish', ['lotto_publish_id'], 'lotto_publish', ['id']),
    ).execute();

    await finish(
      table('purchase_key')
        .addColumn('payment_key', key(200), (column) => column.primaryKey())
        .addColumn('order_id', key(64), (column) => column.notNull())
        .addColumn('claimed_at', moment, (column) => column.notNull().defaultTo(now))
        .addUniqueConstraint('purchase_key_order', ['order_id'])
        .addForeignKeyConstraint('purchase_key_of_order', ['order_id'], 'orders', ['order_id']),
    ).execute();

    await finish(
      table('purchase')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('order_id', key(64), (column) => column.notNull())
        .addColumn('payment_key', key(200), (column) => column.notNull())
        .addColumn('total_amount', 'integer', (column) => column.notNull())
        .addColumn('currency', 'char(3)', (column) => column.notNull())
        .addColumn('status', 'varchar(16)', (column) => column.notNull())
        .addColumn('provider', 'varchar(16)', (column) => column.notNull())
        .addColumn('method', 'varchar(32)', (column) => column.notNull())
        .addColumn('created_at', moment, (column) => column.notNull().defaultTo(now))
        .addForeignKeyConstraint('purchase_of_order', ['order_id'], 'orders', ['order_id']),
    ).execute();

    await finish(
      table('bill')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('member_id', 'bigint', (column) => column.notNull())
        .addColumn('purchase_id', 'bigint', (column) => column.notNull())
        .addColumn('lotto_publish_id', 'bigint', (column) => column.notNull())
        .addColumn('created_at', moment, (column) => column.notNull().defaultTo(now))
        .addForeignKeyConstraint('bill_of_purchase', ['purchase_id'], 'purchase', ['id'])
        .addForeignKeyConstraint('bill_of_publish', ['lotto_publish_id'], 'lotto_publish', ['id']),
    ).execute();

    await finish(
      table('order_status_audit')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('order_id', key(64), (column) => column.notNull())
        .addColumn('from_status', 'varchar(16)', (column) => column.notNull())
        .addColumn('to_status', 'varchar(16)', (column) => column.notNull())
        .addColumn('strategy', 'varchar(64)', (column) => column.notNull())
        .addColumn('instance', 'varchar(64)', (column) => column.notNull())
        .addColumn('request_id', key(64), (column) => column.notNull())
        .addColumn('at', moment, (column) => column.notNull().defaultTo(now))
        .addForeignKeyConstraint('order_status_audit_of_order', ['order_id'], 'orders', ['order_id']),
    ).execute();

    if (indexesForeignKeys) return;
    const index = (name: string, on: string, column: string) =>
      db.schema.createIndex(name).ifNotExists().on(on).column(column).execute();
    await index('lotto_ticket_publish', 'lotto_ticket', 'lotto_publish_id');
    await index('purchase_order', 'purchase', 'order_id');
    await index('bill_publish', 'bill', 'lotto_publish_id');
    await index('order_status_audit_order', 'order_status_audit', 'order_id');
  },
});
