import { randomUUID } from 'node:crypto';
import type { SqlSession } from '../ports.ts';
import { type BusinessTables, rowsOf } from './business-tables.ts';

/** Writes that `buyer` has bought, by the request with this key. */
export async function purchase(
  session: SqlSession,
  tables: BusinessTables,
  { key, buyer }: { readonly key: string; readonly buyer: string },
): Promise<void> {
  const into = `INSERT INTO ${tables.purchase} (id, request_key, buyer) VALUES (?, ?, ?)`;
  await rowsOf(session, into, randomUUID(), key, buyer);
}

/** Who has bought by the request with this key: committed, as anybody sees it. */
export async function buyersOf(
  { sql, tables }: { readonly sql: SqlSession; readonly tables: BusinessTables },
  key: string,
): Promise<readonly unknown[]> {
  const bought = await rowsOf(sql, `SELECT buyer FROM ${tables.purchase} WHERE request_key = ?`, key);
  return bought.map(({ buyer }) => buyer);
}
