import { pgPort } from 'pawl/pg';
import pg from 'pg';

export function openPostgres(url: string) {
  const pool = new pg.Pool({
    connectionString: url,
    max: 10,
    // By itself pg waits for ever. The server gives up before the client does, so that its answer is a clear no.
    connectionTimeoutMillis: 5_000,
    lock_timeout: 10_000,
    statement_timeout: 20_000,
    query_timeout: 22_000,
  });
  // Without a listener, a connection that breaks while it is idle ends the process.
  pool.on('error', (error) => console.error(`an idle connection broke: ${error.message}`));
  return { sql: pgPort(pool), close: () => pool.end() };
}
