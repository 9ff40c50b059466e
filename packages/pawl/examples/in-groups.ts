import { createPool } from 'mysql2';
import { done, groupedIdempotencyStore, groupedUpdates, idempotencyKeys, migrate, type SqlPort } from 'pawl';
import { mysql2Port } from 'pawl/mysql2';
import { pgPort } from 'pawl/pg';
import pg from 'pg';
import { databaseUrl, isMysql, onDatabase, race } from './stage.ts';

/** A pool for transactions that callers share, and for nothing else: it sends several statements at a time. */
function openForGroups(url: string): { sql: SqlPort; close: () => Promise<void> } {
  if (isMysql(url)) {
    const pool = createPool({ uri: url, connectionLimit: 8, multipleStatements: true });
    const limits = { acquireTimeoutMs: 5_000, queryTimeoutMs: 22_000 };
    return { sql: mysql2Port(pool, { ...limits, forGroups: true }), close: () => pool.promise().end() };
  }
  const limits = { connectionTimeoutMillis: 5_000, statement_timeout: 20_000, query_timeout: 22_000 };
  const pool = new pg.Pool({ connectionString: url, max: 8, ...limits });
  pool.on('error', (error) => console.error(`an idle connection broke: ${error.message}`));
  return { sql: pgPort(pool, { forGroups: true }), close: () => pool.end() };
}

await onDatabase({ seat: 'id integer PRIMARY KEY, status varchar(10)' }, async (plain) => {
  await migrate(plain);
  const { sql, close } = openForGroups(databaseUrl());
  const seats = groupedUpdates(sql, { name: 'seats' });
  await plain.execute({ text: `INSERT INTO seat VALUES (1, 'free')`, values: [] });
  const seat = { table: 'seat', key: { id: 1 } };
  console.log(
    await race(50, () => seats.update({ ...seat, expect: { status: 'free' }, set: { status: 'taken' } })),
  );

  const keys = idempotencyKeys(groupedIdempotencyStore(sql), { waitMs: 5_000 });
  const request = { scope: ['member 1', 'POST /seats'], key: crypto.randomUUID(), payload: '{"seat":1}' };
  let runs = 0;
  const work = async () => {
    runs++;
    return done({ status: 200, body: Buffer.from('{"seat":1}') });
  };
  console.log(await race(50, () => keys.run(request, work)));
  console.log(`runs: ${runs}`);
  await close();
});
