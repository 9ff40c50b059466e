import { withDatabase } from '../cluster/database-session.ts';

const LIMIT_MS = 10_000;

/**
 * The first column of the first row that a statement answers, as text; null when there is no row, or NULL in it.
 *
 * @throws the driver's error; whether the statement was carried out is then not known.
 */
export async function sqlValue(databaseUrl: string, statement: string): Promise<string | null> {
  const [row = {}] = await withDatabase(databaseUrl, LIMIT_MS, (query) => query(statement));
  const [value] = Object.values(row);
  return value === undefined || value === null ? null : String(value);
}
