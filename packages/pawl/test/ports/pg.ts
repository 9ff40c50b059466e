import pg from 'pg';
import { pgPort, pgSessions } from '../../src/adapters/pg.ts';
import type { OpenSqlPort, SqlConnection } from '../../src/conformance/index.ts';

export const open: OpenSqlPort = (connection) => {
  const [pool, lent] = [newPgPool(connection), newPgPool(connection)];
  return {
    sql: pgPort(pool),
    sessions: pgSessions(lent),
    async close() {
      await Promise.all([pool.end(), lent.end()]);
    },
  };
};

export function newPgPool({ connections, ...server }: SqlConnection): pg.Pool {
  const pool = new pg.Pool({
    ...server,
    max: connections,
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
    // It looks for a deadlock only when somebody has waited for so long.
    options: '-c deadlock_timeout=100ms',
  });
  pool.on('error', () => undefined);
  return pool;
}
