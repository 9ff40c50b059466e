import { mysql2Port } from '../adapters/mysql2.ts';
import { importDriver } from './import-driver.ts';
import { limits, type OpenDatabase } from './open-database.ts';

/** @throws CommandError  `FAILED`: no driver. */
export async function openMysql(url: string): Promise<OpenDatabase> {
  const { createPool } = await importDriver('mysql2', () => import('mysql2'));
  const pool = createPool({
    uri: url,
    connectionLimit: 1,
    connectTimeout: limits.connectMs,
    timezone: 'Z',
    connectAttributes: { program_name: 'pawl' },
  });
  const lockWaitSeconds = limits.lockWaitMs / 1_000;
  const sql = mysql2Port(pool, {
    acquireTimeoutMs: limits.connectMs,
    queryTimeoutMs: limits.answerMs,
    setUp: [
      `SET SESSION lock_wait_timeout = ${lockWaitSeconds}, SESSION innodb_lock_wait_timeout = ${lockWaitSeconds}`,
    ],
  });
  return { sql, close: () => pool.promise().end() };
}
