import { createPool } from 'mysql2';
import { sqlLockStore } from 'pawl';
import { mysql2Sessions } from 'pawl/mysql2';
import type { ServerUrls } from '../../../servers.ts';
import { type Contender, SESSIONS } from '../contender.ts';
import { pawlLocks } from './pawl-locks.ts';

export async function openPawlMariadb(urls: ServerUrls): Promise<Contender> {
  const pool = createPool({ uri: urls.mariadb, connectionLimit: SESSIONS });
  // A lock is waited for until its turn comes, which the library limits.
  const sessions = mysql2Sessions(pool, { acquireTimeoutMs: 5_000, queryTimeoutMs: 60_000 });
  return pawlLocks(sqlLockStore(sessions), () => pool.promise().end());
}
