import { createPool } from 'mysql2';
import pg from 'pg';
import { mysql2Port } from '../../src/adapters/mysql2.ts';
import { pgPort } from '../../src/adapters/pg.ts';
import type { OpenIdempotencyStore } from '../../src/conformance/index.ts';
import { addressOf } from '../../src/conformance/open.ts';
import { groupedIdempotencyStore, migrate, pawlTables } from '../../src/index.ts';
import { limits } from './mysql2.ts';

const CONNECTIONS = 8;

/** In the database that the URL names, with tables of its own for each namespace. */
export const open: OpenIdempotencyStore = async ({ url = '', namespace }) => {
  const { sql, close } = url.startsWith('postgres') ? postgres(url) : mysql(url);
  const prefix = `${namespace}_`;
  await migrate(sql, { prefix });
  return {
    store: groupedIdempotencyStore(sql, { table: pawlTables({ prefix }).idempotencyKey }),
    close,
  };
};

function postgres(url: string) {
  const pool = new pg.Pool({ ...addressOf(url), max: CONNECTIONS, query_timeout: 60_000 });
  pool.on('error', () => undefined);
  return { sql: pgPort(pool, { forGroups: true }), close: () => pool.end() };
}

function mysql(url: string) {
  const pool = createPool({ ...addressOf(url), connectionLimit: CONNECTIONS, multipleStatements: true });
  return { sql: mysql2Port(pool, { ...limits, forGroups: true }), close: () => pool.promise().end() };
}
