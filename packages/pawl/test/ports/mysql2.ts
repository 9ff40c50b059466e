import { createPool, type Pool } from 'mysql2';
import { type Mysql2Options, mysql2Port, mysql2Sessions } from '../../src/adapters/mysql2.ts';
import type { OpenSqlPort, SqlConnection } from '../../src/conformance/index.ts';

export const limits: Mysql2Options = { acquireTimeoutMs: 10_000, queryTimeoutMs: 60_000 };

export const open: OpenSqlPort = (connection) => {
  const [pool, lent] = [newMysql2Pool(connection), newMysql2Pool(connection)];
  return {
    sql: mysql2Port(pool, limits),
    sessions: mysql2Sessions(lent, limits),
    async close() {
      await Promise.all([pool.promise().end(), lent.promise().end()]);
    },
  };
};

export function newMysql2Pool({ connections, ...server }: SqlConnection, flags: string[] = []): Pool {
  return createPool({ ...server, connectionLimit: connections, flags });
}
