import { Kysely, PostgresDialect } from 'kysely';
import { kyselyPort } from '../../src/adapters/kysely.ts';
import { classifiedPgPool } from '../../src/adapters/pg.ts';
import type { OpenSqlPort } from '../../src/conformance/index.ts';
import { postgres } from '../../src/postgres/index.ts';
import { newPgPool } from './pg.ts';

export const open: OpenSqlPort = (connection) => {
  const pool = classifiedPgPool(newPgPool(connection));
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  return { sql: kyselyPort(db, postgres), close: () => db.destroy() };
};
