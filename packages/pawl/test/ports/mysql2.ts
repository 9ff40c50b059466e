import { createPool, type Pool } from 'mysql2';
import { type Mysql2Options, mysql2Port } from '../../src/adapters/mysql2.ts';
import type { OpenSqlPort, SqlConnection } from '../../src/conformance/index.ts';

export const limits: Mysql2Options = { acquireTimeoutMs: 10_000, queryTimeoutMs: 60_000 };

export const open: OpenSqlPort = (connection) => {
  const pool = newMysql2Pool(connection);
  return { sql: mysql2Port(pool, limits), close: () => pool.promise().end() };
};

export function newMysql2Pool({ connections, ...server }: SqlConnection, flags: string[] = []): Pool {
  return createPool({ ...server, connectionLimit: connections, flags });
}
