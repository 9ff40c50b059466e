import { Kysely, MysqlDialect, PostgresDialect } from 'kysely';
import { createPool } from 'mysql2';
import { conditionalUpdate, done, transact } from 'pawl';
import { kyselyPort } from 'pawl/kysely';
import { mysql } from 'pawl/mysql';
import { classifiedMysql2Pool } from 'pawl/mysql2';
import { classifiedPgPool } from 'pawl/pg';
import { postgres } from 'pawl/postgres';
import pg from 'pg';
import { databaseUrl, isMysql, onDatabase, race } from './stage.ts';

interface Database {
  example_order: { id: number; status: string };
  example_bill: { order_id: number };
}

/** Over a classified pool, so that Kysely's own queries fail in the library's words too. */
function openKysely(url: string) {
  if (isMysql(url)) {
    const limits = { acquireTimeoutMs: 5_000, queryTimeoutMs: 22_000 };
    const pool = classifiedMysql2Pool(createPool(url), limits);
    const db = new Kysely<Database>({ dialect: new MysqlDialect({ pool }) });
    return { db, sql: kyselyPort(db, mysql) };
  }
  const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 22_000 });
  pool.on('error', (error) => console.error(`an idle connection broke: ${error.message}`));
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: classifiedPgPool(pool) }) });
  return { db, sql: kyselyPort(db, postgres) };
}

const tables = {
  example_order: 'id integer PRIMARY KEY, status varchar(10)',
  example_bill: 'order_id integer',
};
await onDatabase(tables, async () => {
  const { db, sql } = openKysely(databaseUrl());
  await db.insertInto('example_order').values({ id: 7, status: 'WAITING' }).execute();
  const settle = () =>
    transact(sql, async (transaction) => {
      const update = { expect: { status: 'WAITING' }, set: { status: 'PAID' } };
      const paid = await conditionalUpdate(transaction, {
        table: 'example_order',
        key: { id: 7 },
        ...update,
      });
      if (paid.outcome === 'refused') return paid;
      // Kysely's own query, in the guard's transaction.
      await transaction.trx.insertInto('example_bill').values({ order_id: 7 }).execute();
      return done(undefined);
    });
  console.log(await race(50, settle));
  console.log(`bills: ${(await db.selectFrom('example_bill').selectAll().execute()).length}`);
  await db.destroy();
});
