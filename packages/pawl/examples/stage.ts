/**
 * What the examples run on: a database by its URL, tables that go when the example ends, and callers who come at once.
 */
import type { Outcome, SqlPort } from 'pawl';
import { openMysql } from './open-mysql.ts';
import { openPostgres } from './open-postgres.ts';

/** The first argument, or DATABASE_URL. */
export function databaseUrl(): string {
  const url = process.argv[2] ?? process.env.DATABASE_URL;
  if (url === undefined) throw new Error('name a database: postgres://… or mysql://…');
  return url;
}

export const isMysql = (url: string): boolean => url.startsWith('mysql:');

/** Runs `work` on a database with these tables, each a name and its columns, and drops them afterwards. */
export async function onDatabase(
  tables: Readonly<Record<string, string>>,
  work: (sql: SqlPort) => Promise<void>,
): Promise<void> {
  const url = databaseUrl();
  const { sql, close } = isMysql(url) ? openMysql(url) : openPostgres(url);
  try {
    for (const [name, columns] of Object.entries(tables)) {
      await sql.execute({ text: `CREATE TABLE ${name} (${columns})`, values: [] });
    }
    await work(sql);
  } finally {
    for (const name of Object.keys(tables)) {
      await sql.execute({ text: `DROP TABLE IF EXISTS ${name}`, values: [] });
    }
    await close();
  }
}

type Counted = Pick<Outcome<unknown>, 'outcome'> & { readonly reason?: string; readonly replayed?: boolean };

/** Calls `work` for 1 … count at once, and counts what came of it: `1 done, 49 wrong-state`. */
export async function race(count: number, work: (caller: number) => Promise<Counted>): Promise<string> {
  const outcomes = await Promise.all(Array.from({ length: count }, (_, index) => work(index + 1)));
  const counts = new Map<string, number>();
  for (const { outcome, reason, replayed } of outcomes) {
    const what = reason ?? (replayed ? 'replayed' : outcome);
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const inOrder = [...counts].sort(([a], [b]) => a.localeCompare(b));
  return inOrder.map(([what, times]) => `${times} ${what}`).join(', ');
}
