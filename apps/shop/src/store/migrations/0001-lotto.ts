import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/**
 * Orders, publishes, purchases, bills.
 *
 * `purchase` and `bill` carry no unique constraint on the order, on purpose: each purchase strategy must be
 * judged by its own guard, and a constraint would hide what the wrong ones do.
 */
export const lotto: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('lotto_round_info')
      .addColumn('id', 'integer', (column) => column.primaryKey())
      .addColumn('sales_open_at', 'timestamptz', (column) => column.notNull())
      .addColumn('sales_close_at', 'timestamptz', (column) => column.notNull())
      .addCheckConstraint('lotto_round_info_window', sql`sales_open_at < sales_close_at`)
      .execute();

    await db.schema
      .createTable('orders')
      .addColumn('order_id', sql`varchar(64) collate "C"`, (column) => column.primaryKey())
      .addColumn('member_id', 'bigint', (column) => column.notNull())
      .addColumn('amount', 'integer', (column) => column.notNull().check(sql`amount > 0`))
      .addColumn('currency', 'char(3)', (column) => column.notNull())
      .addColumn('created_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .execute();

    await db.schema
      .createTable('lotto_publish')
      .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
      .addColumn('order_id', sql`varchar(64) collate "C"`, (column) =>
        column.notNull().unique().references('orders.order_id'),
      )
      .addColumn('lotto_round_info_id', 'integer', (column) =>
        column.notNull().references('lotto_round_info.id'),
      )
      .addColumn('status', 'varchar(16)', (column) => column.notNull())
      .addColumn('version', 'integer', (column) => column.notNull().defaultTo(0))
      .addColumn('payment_key', sql`varchar(200) collate "C"`)
      .addColumn('payment_outcome', 'varchar(16)')
      .addColumn('payment_code', 'varchar(64)')
      .execute();
    await db.schema
      .createIndex('lotto_publish_id_status')
      .on('lotto_publish')
      .columns(['id', 'status'])
      .execute();

    await db.schema
      .createTable('lotto_ticket')
      .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
      .addColumn('lotto_publish_id', 'bigint', (column) => column.notNull().references('lotto_publish.id'))
      .addColumn('numbers', 'varchar(17)', (column) => column.notNull())
      .execute();
    await db.schema
      .createIndex('lotto_ticket_publish')
      .on('lotto_ticket')
      .column('lotto_publish_id')
      .execute();

    await db.schema
      .createTable('purchase_key')
      .addColumn('payment_key', sql`varchar(200) collate "C"`, (column) => column.primaryKey())
      .addColumn('order_id', sql`varchar(64) collate "C"`, (column) =>
        column.notNull().unique().references('orders.order_id'),
      )
      .addColumn('claimed_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .execute();

    await db.schema
      .createTable('purchase')
      .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
      .addColumn('order_id', sql`varchar(64) collate "C"`, (column) =>
        column.notNull().references('orders.order_id'),
      )
      .addColumn('payment_key', sql`varchar(200) collate "C"`, (column) => column.notNull())
      .addColumn('total_amount', 'integer', (column) => column.notNull())
      .addColumn('currency', 'char(3)', (column) => column.notNull())
      .addColumn('status', 'varchar(16)', (column) => column.notNull())
      .addColumn('provider', 'varchar(16)', (column) => column.notNull())
      .addColumn('method', 'varchar(32)', (column) => column.notNull())
      .addColumn('created_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .execute();
    await db.schema.createIndex('purchase_order').on('purchase').column('order_id').execute();

    await db.schema
      .createTable('bill')
      .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
      .addColumn('member_id', 'bigint', (column) => column.notNull())
      .addColumn('purchase_id', 'bigint', (column) => column.notNull().references('purchase.id'))
      .addColumn('lotto_publish_id', 'bigint', (column) => column.notNull().references('lotto_publish.id'))
      .addColumn('created_at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .execute();
    await db.schema.createIndex('bill_publish').on('bill').column('lotto_publish_id').execute();

    await db.schema
      .createTable('order_status_audit')
      .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
      .addColumn('order_id', sql`varchar(64) collate "C"`, (column) =>
        column.notNull().references('orders.order_id'),
      )
      .addColumn('from_status', 'varchar(16)', (column) => column.notNull())
      .addColumn('to_status', 'varchar(16)', (column) => column.notNull())
      .addColumn('strategy', 'varchar(64)', (column) => column.notNull())
      .addColumn('instance', 'varchar(64)', (column) => column.notNull())
      .addColumn('request_id', 'varchar(64)', (column) => column.notNull())
      .addColumn('at', 'timestamptz', (column) => column.notNull().defaultTo(sql`now()`))
      .execute();
    await db.schema
      .createIndex('order_status_audit_order')
      .on('order_status_audit')
      .column('order_id')
      .execute();
  },
};
