import { type Query, withDatabase } from '../cluster/database-session.ts';
import { databaseKind } from '../cluster/store.ts';

const STATEMENT_LIMIT_MS = 30_000;

/** What makes all that follows read one snapshot, and nothing but read. */
const beginSnapshot = {
  postgres: ['BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'],
  mysql: [
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
    'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
  ],
};

/**
 * Lets `read` see one snapshot of the database, whatever is committed meanwhile, on a connection of its own.
 *
 * @throws the driver's error, and what `read` throws.
 */
export function inSnapshot<T>(databaseUrl: string, read: (query: Query) => Promise<T>): Promise<T> {
  return withDatabase(databaseUrl, STATEMENT_LIMIT_MS, async (query) => {
    for (const statement of beginSnapshot[databaseKind(databaseUrl)]) await query(statement);
    const result = await read(query);
    await query('COMMIT');
    return result;
  });
}
