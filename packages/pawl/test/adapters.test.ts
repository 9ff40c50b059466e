import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newDatabase } from '../../../test/stores.ts';
import { kyselyPort } from '../src/adapters/kysely.ts';
import { classifiedPgPool, pgPort } from '../src/adapters/pg.ts';
import { done, refused, type SqlPort, transact } from '../src/index.ts';
import { postgres } from '../src/postgres/index.ts';

let url: string;
let admin: pg.Client;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  url = await newDatabase();
  admin = new pg.Client({ connectionString: url });
  await admin.connect();
  await admin.query('CREATE TABLE note (text text PRIMARY KEY)');
});

afterAll(async () => {
  for (const close of closers) await close();
  await admin.end();
});

function newPool(options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 2, ...options });
  // Without a listener, a broken idle connection would end the process.
  pool.on('error', () => undefined);
  return pool;
}

const adapters: Record<string, (options?: pg.PoolConfig) => SqlPort> = {
  pg: (options) => {
    const pool = newPool(options);
    closers.push(() => pool.end());
    return pgPort(pool);
  },
  kysely: (options) => {
    const db = new Kysely<unknown>({
      dialect: new PostgresDialect({ pool: classifiedPgPool(newPool(options)) }),
    });
    closers.push(() => db.destroy());
    return kyselyPort(db, postgres);
  },
};

const insert = (text: string) => ({ text: 'INSERT INTO note VALUES ($1)', values: [text] });

async function stored(text: string): Promise<boolean> {
  return (await admin.query('SELECT 1 FROM note WHERE text = $1', [text])).rows.length === 1;
}

describe.each(Object.keys(adapters))('the %s adapter', (name) => {
  const open = adapters[name] ?? (() => expect.fail());
  const text = (what: string) => `${name}: ${what}`;

  test('commits what is done, and rolls back what is refused or thrown', async () => {
    const sql = open();
    await sql.transaction((transaction) => transaction.execute(insert(text('committed'))));
    const declined = await transact(sql, async (transaction) => {
      await transaction.execute(insert(text('refused')));
      return refused('declined');
    });
    const thrown = sql.transaction(async (transaction) => {
      await transaction.execute(insert(text('thrown')));
      throw new TypeError('a bug');
    });
    await expect(thrown).rejects.toThrow(TypeError);
    expect(declined).toEqual(refused('declined'));
    expect(await stored(text('committed'))).toBe(true);
    expect(await stored(text('refused'))).toBe(false);
    expect(await stored(text('thrown'))).toBe(false);
  });

  test('a COMMIT that the server answers with ROLLBACK is an error, as the bare driver does not say', async () => {
    const bare = await newPool().connect();
    await bare.query('BEGIN');
    await bare.query(`INSERT INTO note VALUES ('${text('bare')}')`);
    await bare.query('SELECT 1/0').catch(() => undefined);
    expect((await bare.query('COMMIT')).command).toBe('ROLLBACK');
    bare.release(true);
    expect(await stored(text('bare'))).toBe(false);

    const swallowed = open().transaction(async (transaction) => {
      await transaction.execute(insert(text('swallowed')));
      await transaction.execute({ text: 'SELECT 1/0', values: [] }).catch(() => undefined);
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    expect(await stored(text('swallowed'))).toBe(false);
  });

  test('a connection killed in mid-transaction has no effect, and the next one works', async () => {
    const sql = open();
    const killed = sql.transaction(async (transaction) => {
      await transaction.execute(insert(text('killed')));
      const { rows } = await transaction.execute({ text: 'SELECT pg_backend_pid() AS pid', values: [] });
      await admin.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
      await transaction.execute(insert(text('killed too')));
    });
    await expect(killed).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'none' });
    expect(await stored(text('killed'))).toBe(false);
    expect(await transact(sql, async () => done('next'))).toEqual(done('next'));
  });

  test('what another store lost inside a transaction stays unknown', async () => {
    const other = open();
    const mixed = open().transaction(async (transaction) => {
      await transaction.execute(insert(text('mixed')));
      await other.execute({ text: 'SELECT pg_terminate_backend(pg_backend_pid())', values: [] });
    });
    await expect(mixed).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
    expect(await stored(text('mixed'))).toBe(false);
  });

  test('a refusal stays one when the connection is lost before it is rolled back', async () => {
    const outcome = await transact(open(), async (transaction) => {
      const { rows } = await transaction.execute({ text: 'SELECT pg_backend_pid() AS pid', values: [] });
      await admin.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
      return refused('declined');
    });
    expect(outcome).toEqual(refused('declined'));
  });

  test('a connection lost under a statement that commits by itself leaves it unknown', async () => {
    const suicide = open().execute({ text: 'SELECT pg_terminate_backend(pg_backend_pid())', values: [] });
    await expect(suicide).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
  });

  test('no connection to be had means that nothing was sent', async () => {
    const sql = open({ host: '127.0.0.1', port: 1, connectionString: undefined });
    const unavailable = { code: 'UNAVAILABLE', effect: 'none' };
    await expect(sql.execute(insert('x'))).rejects.toMatchObject(unavailable);
    await expect(sql.transaction(async () => undefined)).rejects.toMatchObject(unavailable);
  });

  test('an exhausted pool says so within its limit, and gives back what it lent', async () => {
    const sql = open({ max: 1, connectionTimeoutMillis: 100 });
    await sql.transaction(async () => {
      await expect(sql.execute(insert(text('second')))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });
    await sql.execute(insert(text('third')));
    expect(await stored(text('third'))).toBe(true);
  });

  test('a unique constraint, and an isolation level of its own', async () => {
    const sql = open();
    await sql.execute(insert(text('twice')));
    await expect(sql.execute(insert(text('twice')))).rejects.toMatchObject({ code: 'DUPLICATE_KEY' });
    const level = await sql.transaction((transaction) =>
      transaction.execute({ text: 'SHOW transaction_isolation', values: [] }),
    );
    expect(level.rows).toEqual([{ transaction_isolation: 'read committed' }]);
  });

  test('statements report the rows that they changed', async () => {
    const sql = open();
    expect((await sql.execute(insert(text('counted')))).affectedRows).toBe(1);
    const nothing = await sql.execute({ text: 'UPDATE note SET text = text WHERE false', values: [] });
    expect(nothing.affectedRows).toBe(0);
  });
});
