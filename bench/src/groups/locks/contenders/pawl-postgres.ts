import { sqlLockStore } from 'pawl';
import { pgSessions } from 'pawl/pg';
import pg from 'pg';
import type { ServerUrls } from '../../../servers.ts';
import { type Contender, SESSIONS } from '../contender.ts';
import { pawlLocks } from './pawl-locks.ts';

export async function openPawlPostgres(urls: ServerUrls): Promise<Contender> {
  const pool = new pg.Pool({
    connectionString: urls.postgres,
    max: SESSIONS,
    connectionTimeoutMillis: 5_000,
    // A lock is waited for until its turn comes, which the library limits.
    query_timeout: 60_000,
  });
  pool.on('error', () => undefined); // What failed is told by the statement.
  return pawlLocks(sqlLockStore(pgSessions(pool)), () => pool.end());
}
