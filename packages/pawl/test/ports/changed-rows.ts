import { Kysely, MysqlDialect } from 'kysely';
import { kyselyPort } from '../../src/adapters/kysely.ts';
import type { OpenSqlPort } from '../../src/conformance/index.ts';
import { mysql } from '../../src/mysql/index.ts';
import { newMysql2Pool } from './mysql2.ts';

/** Broken: over a bare pool that counts changed rows, and goes on after a statement of a transaction has failed. */
export const open: OpenSqlPort = (connection) => {
  const pool = newMysql2Pool(connection, ['-FOUND_ROWS']);
  const db = new Kysely<unknown>({ dialect: new MysqlDialect({ pool }) });
  return { sql: kyselyPort(db, mysql), close: () => db.destroy() };
};
