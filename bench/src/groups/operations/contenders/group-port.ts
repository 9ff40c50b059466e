import { createPool } from 'mysql2';
import type { SqlPort } from 'pawl';
import { mysql2Port } from 'pawl/mysql2';
import { pgPort } from 'pawl/pg';
import pg from 'pg';
import type { ServerUrls } from '../../../servers.ts';
import { CONNECTIONS, type DatabaseName } from './database.ts';

export interface OpenedPort {
  readonly sql: SqlPort;
  close(): Promise<void>;
}

/** For the transaction in flight, and those for rows that others have. */
const GROUP_CONNECTIONS = 5;

/** What the library needs to have callers share transactions: connections that send several statements at a time. */
export function openGroupPort(database: DatabaseName, urls: ServerUrls): OpenedPort {
  return open(database, urls, GROUP_CONNECTIONS, true);
}

/** What it needs where each caller has a transaction of his own. */
export function openPort(database: DatabaseName, urls: ServerUrls): OpenedPort {
  return open(database, urls, CONNECTIONS, false);
}

function open(database: DatabaseName, urls: ServerUrls, connections: number, together: boolean): OpenedPort {
  if (database === 'postgres') {
    const pool = new pg.Pool({ connectionString: urls.postgres, max: connections });
    pool.on('error', () => undefined); // What failed is told by the statement.
    return { sql: pgPort(pool, { forGroups: together }), close: () => pool.end() };
  }
  const pool = createPool({
    ...{ uri: urls.mariadb, connectionLimit: connections },
    ...{ multipleStatements: together, timezone: 'Z' },
  });
  const sql = mysql2Port(pool, { acquireTimeoutMs: 5_000, queryTimeoutMs: 22_000, forGroups: together });
  return { sql, close: () => pool.promise().end() };
}
