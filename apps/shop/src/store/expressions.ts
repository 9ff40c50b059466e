import { type InsertQueryBuilder, type InsertResult, type RawBuilder, sql } from 'kysely';
import type { Database, ShopTransaction } from './database.ts';

/** The database's clock at this statement. PostgreSQL's `current_timestamp` is the start of the transaction. */
export function clock({ dialect }: Pick<ShopTransaction, 'dialect'>): RawBuilder<Date> {
  return dialect.name === 'postgres' ? sql<Date>`clock_timestamp()` : sql<Date>`current_timestamp(6)`;
}

/** Inserts one row, and answers the id that the database gave it. */
export async function insertForId<Table extends keyof Database>(
  { dialect }: Pick<ShopTransaction, 'dialect'>,
  insert: InsertQueryBuilder<Database, Table, InsertResult>,
): Promise<number> {
  if (dialect.name === 'mysql') {
    const { insertId } = await insert.executeTakeFirstOrThrow();
    return Number(insertId);
  }
  const { id } = await insert.returning(sql<number>`id`.as('id')).executeTakeFirstOrThrow();
  return id;
}
