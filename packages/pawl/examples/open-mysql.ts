import { createPool } from 'mysql2';
import { mysql2Port } from 'pawl/mysql2';

export function openMysql(url: string) {
  // Of `mysql2`, not of `mysql2/promise`; FOUND_ROWS stays on and resetOnRelease off, as by default.
  const pool = createPool({ uri: url, connectionLimit: 10, connectTimeout: 5_000 });
  const sql = mysql2Port(pool, {
    acquireTimeoutMs: 5_000,
    queryTimeoutMs: 22_000,
    // Shorter than queryTimeoutMs, so that the server gives up first and its answer is a clear no.
    setUp: ['SET SESSION innodb_lock_wait_timeout = 10, SESSION lock_wait_timeout = 10'],
  });
  return { sql, close: () => pool.promise().end() };
}
