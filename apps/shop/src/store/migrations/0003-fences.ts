import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ColumnTypes } from './column-types.ts';

/** In the rows that a lock is held for: the token of the section that registered last. */
export const fences = ({ schema }: ColumnTypes): Migration => ({
  async up(db: Kysely<unknown>) {
    for (const table of ['lotto_publish', 'coupon']) {
      // MySQL has no ADD COLUMN that may find it made already.
      const { rows } = await sql`
        select 1 from information_schema.columns
         where table_schema = ${schema} and table_name = ${table} and column_name = 'fence'`.execute(db);
      if (rows.length > 0) continue;
      await db.schema
        .alterTable(table)
        .addColumn('fence', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute();
    }
  },
});
