import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ColumnTypes } from './column-types.ts';

/**
 * Coupons, who has which, and the standing of members.
 *
 * `issued_coupon.claimed_by` is the member once more, where the strategy claims that he gets only one: the database then
 * refuses a second. The unguarded strategies leave it NULL, which is never a duplicate, so that what they do wrong can be
 * seen. For the same reason nothing here makes a serial number unique.
 */
export const coupons = (types: ColumnTypes): Migration => ({
  async up(db: Kysely<unknown>) {
    const { key, moment, now, generatedId, generatedNumber, finish } = types;
    const table = (name: string) => db.schema.createTable(name).ifNotExists();

    await finish(
      table('coupon')
        .addColumn('id', key(36), (column) => column.primaryKey())
        .addColumn('sequence', 'bigint', generatedNumber)
        // Of up to 100 characters; where keys are bytes, one has up to four of them.
        .addColumn('name', key(400), (column) => column.notNull())
        .addColumn('code', 'varchar(64)', (column) => column.notNull())
        .addColumn('download_start_date', 'date', (column) => column.notNull())
        .addColumn('download_end_date', 'date', (column) => column.notNull())
        .addColumn('available_start_date', 'date', (column) => column.notNull())
        .addColumn('available_end_date', 'date', (column) => column.notNull())
        .addColumn('discount_type', 'varchar(16)', (column) => column.notNull())
        .addColumn('cost', 'integer', (column) => column.notNull())
        .addColumn('coupon_type', 'varchar(16)', (column) => column.notNull())
        .addColumn('number_of_coupons', 'integer', (column) => column.notNull())
        .addColumn('remaining', 'integer', (column) => column.notNull())
        .addColumn('time_zone', 'varchar(64)', (column) => column.notNull())
        .addColumn('opening_time', 'varchar(8)', (column) => column.notNull())
        .addColumn('daily_quota', 'integer')
        // The day, in the coupon's time zone, whose issues `quota_used` counts: that of the last one.
        .addColumn('quota_day', 'date')
        .addColumn('quota_used', 'integer', (column) => column.notNull().defaultTo(0))
        .addColumn('version', 'integer', (column) => column.notNull().defaultTo(0))
        .addColumn('created_at', moment, (column) => column.notNull().defaultTo(now))
        .addUniqueConstraint('coupon_name', ['name'])
        .addUniqueConstraint('coupon_sequence', ['sequence'])
        .addCheckConstraint('coupon_remaining', sql`remaining >= 0 and remaining <= number_of_coupons`)
        .addCheckConstraint('coupon_download', sql`download_start_date <= download_end_date`)
        .addCheckConstraint('coupon_available', sql`available_start_date <= available_end_date`)
        .addCheckConstraint('coupon_cost', sql`cost > 0 and (discount_type <> 'PERCENT' or cost <= 100)`),
    ).execute();

    await finish(
      table('issued_coupon')
        .addColumn('id', 'bigint', generatedId)
        .addColumn('coupon_id', key(36), (column) => column.notNull())
        .addColumn('member_id', 'bigint', (column) => column.notNull())
        .addColumn('serial', 'integer', (column) => column.notNull())
        .addColumn('claimed_by', 'bigint')
        .addColumn('strategy', 'varchar(64)', (column) => column.notNull())
        .addColumn('instance', 'varchar(64)', (column) => column.notNull())
        .addColumn('request_id', key(64), (column) => column.notNull())
        .addColumn('issued_at', moment, (column) => column.notNull())
        .addUniqueConstraint('issued_coupon_once', ['coupon_id', 'claimed_by'])
        // An index for whoever asks what a member has. MySQL has no CREATE INDEX that may find it made already.
        .addUniqueConstraint('issued_coupon_of_member', ['member_id', 'coupon_id', 'id'])
        .addForeignKeyConstraint('issued_coupon_of_coupon', ['coupon_id'], 'coupon', ['id']),
    ).execute();

    await finish(
      table('member_standing')
        .addColumn('member_id', 'bigint', (column) => column.primaryKey())
        .addColumn('standing', 'varchar(16)', (column) => column.notNull()),
    ).execute();
  },
});
