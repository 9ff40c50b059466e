import { pgPort } from '../adapters/pg.ts';
import { importDriver } from './import-driver.ts';
import { limits, type OpenDatabase } from './open-database.ts';

/** Parameters of the URL count for more than the limits here. @throws CommandError  `FAILED`: no driver. */
export async function openPostgres(url: string): Promise<OpenDatabase> {
  const { default: pg } = await importDriver('pg', () => import('pg'));
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'pawl',
    max: 1,
    connectionTimeoutMillis: limits.connectMs,
    lock_timeout: limits.lockWaitMs,
    statement_timeout: limits.statementMs,
    query_timeout: limits.answerMs,
  });
  // Without a listener, a connection that breaks while it is idle ends the process.
  pool.on('error', () => undefined);
  return { sql: pgPort(pool), close: () => pool.end() };
}
