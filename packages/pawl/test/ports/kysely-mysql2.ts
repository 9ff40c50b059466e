import { Kysely, MysqlDialect } from 'kysely';
import { kyselyPort } from '../../src/adapters/kysely.ts';
import { classifiedMysql2Pool } from '../../src/adapters/mysql2.ts';
import type { OpenSqlPort } from '../../src/conformance/index.ts';
import { mysql } from '../../src/mysql/index.ts';
import { limits, newMysql2Pool } from './mysql2.ts';

export const open: OpenSqlPort = (connection) => {
  const pool = classifiedMysql2Pool(newMysql2Pool(connection), limits);
  const db = new Kysely<unknown>({ dialect: new MysqlDialect({ pool }) });
  return { sql: kyselyPort(db, mysql), close: () => db.destroy() };
};
