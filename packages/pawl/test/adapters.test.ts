import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { CamelCasePlugin, CompiledQuery, Kysely, PostgresDialect } from 'kysely';
import { createPool, type PoolConnection, type PoolOptions } from 'mysql2';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, until } from '../../../test/barrier.ts';
import { type DatabaseProxy, mysqlError, startProxy } from '../../../test/proxy.ts';
import type { SqlStore } from '../../../test/stores.ts';
import { type KyselyTransaction, kyselyPort } from '../src/adapters/kysely.ts';
import { classifiedMysql2Pool, type Mysql2Options, mysql2Port } from '../src/adapters/mysql2.ts';
import { classifiedPgPool, pgPort } from '../src/adapters/pg.ts';
import {
  claimUnique,
  conditionalUpdate,
  done,
  lockRow,
  MisuseError,
  readThenWrite,
  refused,
  type SqlPort,
  type SqlSession,
  type SqlTransaction,
  type SqlValue,
  StoreError,
  transact,
  transactWithRetry,
} from '../src/index.ts';
import { LIMIT_LOCK_WAIT, limitLockWait } from '../src/mysql/pessimistic-lock.ts';
import { postgres } from '../src/postgres/index.ts';
import { atIsolation, openStore, type PortOptions, SESSION_ID, type Store } from './stores.ts';

const adapters: { name: string; on: SqlStore; over: 'driver' | 'kysely' }[] = [
  { name: 'pg', on: 'postgres', over: 'driver' },
  { name: 'kysely on pg', on: 'postgres', over: 'kysely' },
  { name: 'mysql2', on: 'mariadb', over: 'driver' },
  { name: 'kysely on mysql2', on: 'mariadb', over: 'kysely' },
  { name: 'mysql2 with snapshot isolation', on: 'mariadb-snapshot', over: 'driver' },
];

const LOST = { code: 'CONNECTION_LOST', effect: 'unknown' };
const LOST_WITHOUT_EFFECT = { code: 'CONNECTION_LOST', effect: 'none' };

let store: Store;
const proxies: DatabaseProxy[] = [];

const run = (session: SqlSession, text: string, ...values: SqlValue[]) =>
  session.execute(store.statement(text, ...values));
const insert = (session: SqlSession, text: string) => run(session, 'INSERT INTO note VALUES (?)', text);
const sessionOf = async (session: SqlSession) =>
  Number((await run(session, SESSION_ID[store.kind])).rows[0]?.id);

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A transaction's statements past its port, where the adapter has such a way. */
function directly(transaction: SqlTransaction): (text: string) => Promise<unknown> {
  if (!('trx' in transaction)) return (text) => run(transaction, text);
  const { trx } = transaction as KyselyTransaction<unknown>;
  return (text) => trx.executeQuery(CompiledQuery.raw(text));
}

/** What is in the database, as somebody else sees it. */
const stored = async () =>
  (await store.query('SELECT text FROM note ORDER BY text')).rows.map(({ text }) => text);

async function proxyTo(...args: Parameters<typeof startProxy>): Promise<DatabaseProxy> {
  const proxy = await startProxy(...args);
  proxies.push(proxy);
  return proxy;
}

async function prepare(on: SqlStore): Promise<void> {
  store = await openStore(on);
  await store.query('CREATE TABLE note (text varchar(50) PRIMARY KEY)');
  await store.query('CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)');
  await store.query('INSERT INTO counter VALUES (1, 0)');
}

async function cleanUp(): Promise<void> {
  await store.endSessions();
  for (const proxy of proxies.splice(0)) await proxy.close();
}

describe.each(adapters)('the adapter: $name', ({ on, over }) => {
  const open = (options: PortOptions = {}) => store.open({ over, ...options });

  beforeAll(() => prepare(on));
  beforeEach(() => store.query('DELETE FROM note'));
  afterEach(cleanUp);
  afterAll(() => store.close());

  test('commits what is done, and rolls back what is refused or thrown', async () => {
    const sql = open();
    await sql.transaction((transaction) => insert(transaction, 'committed'));
    const declined = await transact(sql, async (transaction) => {
      await insert(transaction, 'refused');
      return refused('declined');
    });
    const thrown = sql.transaction(async (transaction) => {
      await insert(transaction, 'thrown');
      throw new TypeError('a bug');
    });
    await expect(thrown).rejects.toThrow(TypeError);
    expect(declined).toEqual(refused('declined'));
    expect(await stored()).toEqual(['committed']);
  });

  test('a refusal costs no connection, and the next on it commits nothing of it', async () => {
    const sql = open({ connections: 1 });
    const session = await sessionOf(sql);
    await transact(sql, async (transaction) => {
      await insert(transaction, 'refused');
      return refused('declined');
    });
    await sql.transaction((transaction) => insert(transaction, 'next'));
    expect(await sessionOf(sql)).toBe(session);
    expect(await stored()).toEqual(['next']);
  });

  test('what was written in a transaction is nobody else’s to see before its COMMIT', async () => {
    await open().transaction(async (transaction) => {
      await insert(transaction, 'mine');
      expect(await stored()).toEqual([]);
    });
    expect(await stored()).toEqual(['mine']);
  });

  test('a COMMIT after a failure that was swallowed is an error, and keeps nothing', async () => {
    const swallowed = open().transaction(async (transaction) => {
      await insert(transaction, 'swallowed');
      await run(transaction, 'SELECT * FROM nowhere').catch(() => undefined);
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    expect(await stored()).toEqual([]);
  });

  test('a connection killed in mid-transaction has no effect, and the next one works', async () => {
    const sql = open({ connections: 1 });
    const killed = sql.transaction(async (transaction) => {
      await insert(transaction, 'killed');
      await store.kill(await sessionOf(transaction));
      await insert(transaction, 'killed too');
    });
    await expect(killed).rejects.toMatchObject(LOST_WITHOUT_EFFECT);
    expect(await transact(sql, async () => done('next'))).toEqual(done('next'));
    expect(await stored()).toEqual([]);
  });

  test('a branch of the work that outlives its transaction reaches nobody else’s', async () => {
    const sql = open({ connections: 1 });
    const goOn = barrier(2);
    let branch: Promise<unknown> = Promise.resolve();
    const failed = sql.transaction(async (transaction) => {
      branch = goOn().then(() => insert(transaction, 'late'));
      throw new TypeError('a bug');
    });
    await expect(failed).rejects.toThrow(TypeError);
    await sql.transaction(async (next) => {
      await run(next, 'SELECT 1');
      void goOn();
      await expect(branch).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    });
    expect(await stored()).toEqual([]);
  });

  test('what is sent while a transaction ends does not commit by itself', async () => {
    const sql = open();
    const busy = await store.connect();
    await busy.begin('READ COMMITTED');
    await busy.query('SELECT * FROM counter FOR UPDATE');
    const late = Promise.withResolvers<unknown>();
    const issued = Promise.withResolvers<void>();
    const failed = sql.transaction(async (transaction) => {
      const beside = directly(transaction);
      // It waits for the row, and the ROLLBACK waits for it.
      beside('SELECT * FROM counter FOR UPDATE').catch(() => undefined);
      await until(async () => (await store.waitingForLocks()) === 1);
      setImmediate(() => {
        beside(`INSERT INTO note VALUES ('late')`).then(late.resolve, late.reject);
        issued.resolve();
      });
      throw new TypeError('a bug');
    });
    failed.catch(() => undefined);
    late.promise.catch(() => undefined);
    await issued.promise;
    await busy.query('ROLLBACK');
    await expect(failed).rejects.toThrow(TypeError);
    await expect(late.promise).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    expect(await stored()).toEqual([]);
  });

  test('what is sent beside a COMMIT that is on its way does not commit by itself', async () => {
    const late = Promise.withResolvers<unknown>();
    late.promise.catch(() => undefined);
    let sendLate = (): void => undefined;
    const { port } = await proxyTo(store.url, () => {
      sendLate();
      return 'passes';
    });
    await open({ port }).transaction(async (transaction) => {
      await insert(transaction, 'in time');
      sendLate = () => void insert(transaction, 'late').then(late.resolve, late.reject);
    });
    await expect(late.promise).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    expect(await stored()).toEqual(['in time']);
  });

  test('a refusal stays one when the connection is lost before it is rolled back', async () => {
    const outcome = await transact(open(), async (transaction) => {
      await insert(transaction, 'refused');
      await store.kill(await sessionOf(transaction));
      return refused('declined');
    });
    expect(outcome).toEqual(refused('declined'));
    await until(async () => (await stored()).length === 0);
  });

  /** Waits for a row that is locked, and is killed meanwhile. */
  async function killedWhileItWaits(sql: SqlSession): Promise<unknown> {
    const holder = await store.connect();
    await holder.begin('READ COMMITTED');
    await holder.query('UPDATE counter SET n = n + 1 WHERE id = 1');
    const id = await sessionOf(sql);
    const waiting = run(sql, 'UPDATE counter SET n = n + 10 WHERE id = 1');
    await until(async () => (await store.waitingForLocks()) === 1);
    const [answer] = await Promise.all([waiting, store.kill(id)]);
    return answer;
  }

  test('a connection lost under a statement that commits by itself leaves it unknown', async () => {
    await expect(killedWhileItWaits(open({ connections: 1 }))).rejects.toMatchObject(LOST);
  });

  test('lost under a statement of a transaction, it had no effect', async () => {
    await expect(open().transaction(killedWhileItWaits)).rejects.toMatchObject(LOST_WITHOUT_EFFECT);
  });

  test('what another store lost inside a transaction stays unknown', async () => {
    const other = open({ connections: 1 });
    const mixed = open().transaction(async (transaction) => {
      await insert(transaction, 'mixed');
      await killedWhileItWaits(other);
    });
    await expect(mixed).rejects.toMatchObject(LOST);
    expect(await stored()).toEqual([]);
  });

  test.each([
    { fate: 'answer-lost', kept: ['x'] },
    { fate: 'request-lost', kept: [] },
  ] as const)('a COMMIT whose $fate is unknown: the row may be there, or not', async ({ fate, kept }) => {
    const { port } = await proxyTo(store.url, () => fate);
    const cut = open({ port }).transaction((transaction) => insert(transaction, 'x'));
    await expect(cut).rejects.toMatchObject(LOST);
    expect(await stored()).toEqual(kept);
  });

  test('a COMMIT whose answer is lost is not tried again', async () => {
    const { port } = await proxyTo(store.url, () => 'answer-lost');
    let attempts = 0;
    const once = transactWithRetry(open({ port }), async (transaction) => {
      attempts++;
      return done(await insert(transaction, `attempt ${attempts}`));
    });
    await expect(once).rejects.toMatchObject(LOST);
    expect(await stored()).toEqual(['attempt 1']);
  });

  test('a server that falls silent is given up, also before it has prepared a statement', async () => {
    const queryTimeoutMs = 200;
    const first = await proxyTo(store.url);
    const alone = open({ port: first.port, queryTimeoutMs });
    await run(alone, 'SELECT 1');
    first.fallSilent();
    await expect(insert(alone, 'a')).rejects.toMatchObject(LOST);

    const second = await proxyTo(store.url);
    const within = open({ port: second.port, queryTimeoutMs }).transaction(async (transaction) => {
      await run(transaction, 'SELECT 1');
      second.fallSilent();
      await insert(transaction, 'b');
    });
    await expect(within).rejects.toMatchObject(LOST_WITHOUT_EFFECT);
  });

  test('no connection to be had means that nothing was sent', async () => {
    const sql = open({ port: 1 });
    const unavailable = { code: 'UNAVAILABLE', effect: 'none' };
    await expect(insert(sql, 'x')).rejects.toMatchObject(unavailable);
    await expect(sql.transaction(async () => undefined)).rejects.toMatchObject(unavailable);
    const stranger = open({ user: { name: 'nobody', password: 'wrong' } });
    await expect(insert(stranger, 'x')).rejects.toMatchObject(unavailable);
  });

  test('an exhausted pool says so within its limit, and takes back what it lent too late', async () => {
    const sql = open({ connections: 1, acquireTimeoutMs: 100 });
    await sql.transaction(async () => {
      await expect(insert(sql, 'second')).rejects.toMatchObject({ code: 'UNAVAILABLE', effect: 'none' });
      await expect(sql.transaction(async () => undefined)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });
    await insert(sql, 'third');
    await sql.transaction((transaction) => insert(transaction, 'fourth'));
    expect(await stored()).toEqual(['fourth', 'third']);
  });

  /** What one transaction reads before and after somebody else's change. */
  async function twoReadings(sql: SqlPort): Promise<[number, number]> {
    await store.query('UPDATE counter SET n = 1');
    const read = async (session: SqlSession) =>
      Number((await run(session, 'SELECT n FROM counter')).rows[0]?.n);
    return sql.transaction(async (transaction) => {
      const before = await read(transaction);
      await store.query('UPDATE counter SET n = 2');
      return [before, await read(transaction)];
    });
  }

  test('at REPEATABLE READ a transaction goes on seeing what it saw', async () => {
    expect(await twoReadings(atIsolation(open(), 'REPEATABLE READ'))).toEqual([1, 1]);
  });

  test.each(['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const)(
    'transactions are at READ COMMITTED, where sessions are at %s',
    async (isolation) => {
      const sql = open({ settings: store.defaultIsolation(isolation) });
      expect(await twoReadings(sql)).toEqual([1, 2]);
    },
  );

  test('a unique constraint is told from other refusals, in a transaction too', async () => {
    const sql = open();
    await insert(sql, 'twice');
    const duplicate = { code: 'DUPLICATE_KEY', effect: 'none' };
    await expect(insert(sql, 'twice')).rejects.toMatchObject(duplicate);
    await expect(sql.transaction((transaction) => insert(transaction, 'twice'))).rejects.toMatchObject(
      duplicate,
    );
    await expect(run(sql, 'SELECT * FROM nowhere')).rejects.toMatchObject({
      code: 'REJECTED',
      effect: 'none',
    });
  });

  test('an update reports the rows that it found, not those that it changed', async () => {
    const sql = open();
    const affected = async (text: string) => (await run(sql, text)).affectedRows;
    await store.query('UPDATE counter SET n = 5');
    expect((await insert(sql, 'counted')).affectedRows).toBe(1);
    expect(await affected('UPDATE counter SET n = 5 WHERE id = 1')).toBe(1);
    expect(await affected('UPDATE counter SET n = 6 WHERE n = 4')).toBe(0);
    expect(await affected(`DELETE FROM note WHERE text = 'nobody'`)).toBe(0);
    expect(await affected('DELETE FROM note')).toBe(1);
    expect(
      await conditionalUpdate(sql, { table: 'counter', key: { id: 1 }, expect: {}, set: { n: 5 } }),
    ).toEqual(done(undefined));
  });

  describe('values', () => {
    const TEXT = `it's "quoted" \\' OR 1=1 -- \\\\ \n\t\u0001 %_ ? $1 한글 🎟`;
    const value = {
      id: 1,
      text: TEXT,
      big: 9_007_199_254_740_993n,
      at: new Date('2024-02-29T23:59:59.123Z'),
      flag: true,
      nothing: null,
      bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
    };

    beforeEach(async () => {
      await store.query('DROP TABLE IF EXISTS specimen');
      const [at, bytes] =
        store.kind === 'postgres' ? ['timestamptz', 'bytea'] : ['datetime(3)', 'varbinary(300)'];
      await store.query(
        `CREATE TABLE specimen (id int PRIMARY KEY, text varchar(100), big bigint, at ${at}, flag boolean,
         nothing varchar(10), bytes ${bytes})`,
      );
    });

    // Under which a backslash in a text is only that, or is more than that.
    const modes: Record<Store['kind'], Record<string, string>> = {
      postgres: { standard_conforming_strings: 'off' },
      mysql: { sql_mode: `'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES'` },
    };

    test.each(['by default', 'with the other rules for backslashes'])(
      'come back as they went in: %s',
      async (how) => {
        const sql = open({ settings: how === 'by default' ? {} : modes[store.kind] });
        const names = Object.keys(value);
        const marks = names.map(() => '?').join(', ');
        await run(
          sql,
          `INSERT INTO specimen (${names.join(', ')}) VALUES (${marks})`,
          ...Object.values(value),
        );
        const same = 'text = ? AND big = ? AND at = ? AND flag = ? AND bytes = ? AND nothing IS NULL';
        const { text, big, at, flag, bytes } = value;
        const { rows } = await run(sql, `SELECT * FROM specimen WHERE ${same}`, text, big, at, flag, bytes);
        expect(rows).toHaveLength(1);
        const row = rows[0] ?? {};
        expect({
          ...row,
          big: BigInt(String(row.big)),
          flag: Boolean(row.flag),
          bytes: Uint8Array.from(row.bytes as Uint8Array),
        }).toEqual(value);
      },
    );

    test('neighbours beyond 2^53 are told apart in a condition', async () => {
      const sql = open();
      for (const [id, big] of [9_007_199_254_740_992n, 9_007_199_254_740_993n].entries()) {
        await run(sql, 'INSERT INTO specimen (id, big) VALUES (?, ?)', id, big);
      }
      const { rows } = await run(sql, 'SELECT id FROM specimen WHERE big = ?', 9_007_199_254_740_993n);
      expect(rows).toEqual([{ id: 1 }]);
    });
  });
});

describe('PostgreSQL', () => {
  beforeAll(() => prepare('postgres'));
  afterEach(cleanUp);
  afterAll(() => store.close());

  test.each(['driver', 'kysely'] as const)('a COMMIT that is refused leaves nothing (%s)', async (over) => {
    await store.query('DROP TABLE IF EXISTS late');
    await store.query('CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
    const sql = store.open({ over });
    const refusedLate = sql.transaction(async (transaction) => {
      await insert(transaction, 'late');
      for (let twice = 0; twice < 2; twice++) await run(transaction, 'INSERT INTO late VALUES (1)');
    });
    await expect(refusedLate).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
    expect(await stored()).toEqual([]);
    await sql.transaction((transaction) => insert(transaction, 'next'));
    expect(await stored()).toEqual(['next']);
    await store.query('DELETE FROM note');
  });

  test('Kysely’s plugins, which rename columns, do not reach the guards', async () => {
    await store.query('CREATE TABLE lease (claim_key text PRIMARY KEY, owner text, expires_at timestamptz)');
    const pool = new pg.Pool({ connectionString: store.url, max: 2 });
    const plugins = [new CamelCasePlugin()];
    const dialect = new PostgresDialect({ pool: classifiedPgPool(pool) });
    const db = new Kysely<unknown>({ dialect, plugins });
    try {
      const sql = kyselyPort(db, postgres);
      const expiry = { column: 'expires_at', leaseMs: 60_000 };
      const claim = (owner: string) => ({
        table: 'lease',
        key: { claim_key: 'a' },
        values: { owner },
        expiry,
      });
      expect(await claimUnique(sql, claim('first'))).toEqual(done(undefined));
      expect(await claimUnique(sql, claim('second'))).toMatchObject({
        holder: { claim_key: 'a', owner: 'first' },
      });
      await store.query(`UPDATE lease SET expires_at = clock_timestamp() - interval '1 hour'`);
      const inTransaction = sql.transaction((transaction) => claimUnique(transaction, claim('third')));
      expect(await inTransaction).toEqual(done(undefined));
    } finally {
      await db.destroy();
    }
  });

  test.each([
    [false, 'read committed'],
    [true, 'repeatable read'],
  ])('sessions that are said to be READ COMMITTED (%s) are believed', async (said, level) => {
    const options = '-c default_transaction_isolation=repeatable\\ read';
    const pool = new pg.Pool({ connectionString: store.url, max: 1, options });
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: classifiedPgPool(pool) }) });
    const sql = kyselyPort(db, postgres, { sessionsAreReadCommitted: said });
    const shown = await sql
      .transaction((transaction) => run(transaction, 'SHOW transaction_isolation'))
      .finally(() => db.destroy());
    expect(shown.rows).toEqual([{ transaction_isolation: level }]);
  });
});

describe('a classified pool of pg', () => {
  let bare: pg.Pool;
  let pool: pg.Pool;
  const held = new Set<pg.PoolClient>();

  beforeAll(() => prepare('postgres'));
  beforeEach(async () => {
    await store.query('DELETE FROM note');
    bare = new pg.Pool({ connectionString: store.url, max: 1 });
    pool = classifiedPgPool(bare);
    bare.on('acquire', (client) => held.add(client));
    bare.on('release', (_, client) => held.delete(client));
  });
  afterEach(async () => {
    // The pool would wait for what a failed test has not given back.
    for (const client of held) client.release(true);
    await bare.end();
  });
  afterAll(() => store.close());

  const ways: Record<string, (sql: SqlPort, text: string) => Promise<unknown>> = {
    'a statement': insert,
    'a transaction': (sql, text) => sql.transaction((transaction) => insert(transaction, text)),
  };

  test.each(Object.keys(ways))(
    'lends nobody a transaction that is open: %s of Kysely does not commit it, is told so, and not done',
    async (way) => {
      const write = ways[way] as (typeof ways)[string];
      const sql = kyselyPort(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }), postgres);
      const left = await pool.connect();
      await left.query('BEGIN');
      await left.query("INSERT INTO note VALUES ('left')");
      left.release();
      await expect(write(sql, 'mine')).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
      await write(sql, 'next');
      expect(await stored()).toEqual(['next']);
    },
  );

  test.each(Object.keys(ways))(
    'waits for a COMMIT that nobody waited for: then %s of Kysely is done',
    async (way) => {
      const write = ways[way] as (typeof ways)[string];
      const sql = kyselyPort(new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) }), postgres);
      const left = await pool.connect();
      await left.query('BEGIN');
      await left.query("INSERT INTO note VALUES ('left')");
      const committed = left.query('COMMIT');
      left.release();
      await write(sql, 'mine');
      expect((await committed).command).toBe('COMMIT');
      expect(await stored()).toEqual(['left', 'mine']);
    },
  );

  const ONE = 'SELECT 1 AS one';
  const TWO = 'SELECT $1::int AS one';
  type Answer = (error: Error | null | undefined, result: pg.QueryResult) => void;
  const forms: Record<string, (of: pg.Pool | pg.PoolClient, text: string, answer: Answer) => unknown> = {
    'a text and a callback': (of, text, answer) => of.query(text, answer),
    'values and a callback': (of, text, answer) => of.query(text, text === TWO ? [1] : [], answer),
    'no values and a callback': (of, text, answer) => of.query(text, undefined as never, answer),
    'a text': (of, text, answer) =>
      void of.query(text).then((result) => answer(null, result), answer as () => void),
    'null for values': (of, text, answer) =>
      void of.query(text, null as never).then((result) => answer(null, result), answer as () => void),
  };
  const asked = (form: string, of: pg.Pool | pg.PoolClient, text: string) =>
    new Promise<unknown>((resolve, reject) => {
      forms[form]?.(of, text, (error, result) => (error ? reject(error) : resolve(result.rows)));
    });

  test.each(Object.keys(forms))(
    'answers as the driver does: %s',
    async (form) => {
      const unknown = { name: 'StoreError', code: 'REJECTED', effect: 'none' };
      const text = form === 'values and a callback' ? TWO : ONE;
      expect(await asked(form, pool, text)).toEqual([{ one: 1 }]);
      await expect(asked(form, pool, 'SELECT * FROM nowhere')).rejects.toMatchObject(unknown);
      const client = await pool.connect();
      expect(await asked(form, client, text)).toEqual([{ one: 1 }]);
      await expect(asked(form, client, 'SELECT * FROM nowhere')).rejects.toMatchObject(unknown);
      client.release();
      expect(bare.idleCount).toBe(1);
    },
    5_000,
  );

  const lent = () =>
    new Promise<{ client: pg.PoolClient; release: (error?: unknown) => void }>((resolve, reject) => {
      pool.connect((error, client, release) =>
        client === undefined ? reject(error) : resolve({ client, release }),
      );
    });

  test('lends by callback, with the means to give it back, once', async () => {
    const first = await lent();
    first.release();
    const second = await lent();
    expect(second.client).toBe(first.client);
    expect(() => first.release()).toThrow();
    expect(bare.idleCount).toBe(0);
    second.release();
    expect(bare.idleCount).toBe(1);
  });

  test.each([true, new Error('it is spoilt'), 'spoilt'])(
    'drops what is given back with %s',
    async (spoilt) => {
      for (const give of ['client', 'release'] as const) {
        const { client, release } = await lent();
        if (give === 'client') client.release(spoilt as true);
        else release(spoilt);
        const next = await lent();
        next.release();
        expect(next.client).not.toBe(client);
      }
    },
  );

  test('calls back once, and what that throws is an exception that nobody catches', async () => {
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const caught: unknown[] = [];
    process.on('uncaughtException', (error) => caught.push(error));
    try {
      const called: unknown[] = [];
      const failing = (error: unknown) => {
        called.push(error);
        throw new TypeError('a bug');
      };
      const { client, release } = await lent();
      client.query(ONE, failing);
      client.query('SELECT * FROM nowhere', failing);
      await until(() => caught.length === 2);
      release();
      pool.connect((error, _, giveBack) => {
        giveBack();
        failing(error);
      });
      await until(() => caught.length === 3);
      expect(called).toEqual([null, expect.any(StoreError), undefined]);
      expect(caught).toEqual(Array(3).fill(new TypeError('a bug')));
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const other of others) process.on('uncaughtException', other);
    }
  });
});

describe('a PostgreSQL that greets and takes leave in one breath', () => {
  const message = (type: string, body: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length + 4);
    return Buffer.concat([Buffer.from(type), length, body]);
  };
  const greeting = [
    message('R', Buffer.alloc(4)),
    message('K', Buffer.alloc(8)),
    message('Z', Buffer.from('I')),
    message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0')),
  ];

  test.each(['driver', 'kysely'] as const)(
    'is a lost connection, and not the end of the process (%s)',
    async (over) => {
      const server = createServer((client) => {
        client.on('error', () => undefined);
        client.once('data', () => client.end(Buffer.concat(greeting)));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const pool = new pg.Pool({
        host: '127.0.0.1',
        port: (server.address() as AddressInfo).port,
        ssl: false,
      });
      pool.on('error', () => undefined);
      const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: classifiedPgPool(pool) }) });
      const sql = over === 'driver' ? pgPort(pool) : kyselyPort(db, postgres);
      try {
        const asked = sql.execute({ text: 'SELECT 1', values: [] });
        await expect(asked).rejects.toMatchObject({ code: expect.stringMatching(/LOST|UNAVAILABLE/) });
      } finally {
        await pool.end();
        server.close();
      }
    },
  );
});

describe('mysql2', () => {
  const pools: (() => Promise<void>)[] = [];

  beforeAll(() => prepare('mariadb'));
  beforeEach(() => store.query('DELETE FROM note'));
  afterEach(cleanUp);
  afterAll(async () => {
    for (const end of pools) await end();
    await store.close();
  });

  const LIMITS = { acquireTimeoutMs: 2_000, queryTimeoutMs: 10_000 };

  function newPool(options: PoolOptions = {}) {
    const pool = createPool({ uri: store.url, connectionLimit: 1, ...options });
    pools.push(() => pool.promise().end());
    return pool;
  }

  test('a pool of mysql2/promise is refused: its connections would be taken and never given back', () => {
    const pool = newPool().promise();
    expect(() => mysql2Port(pool as never, LIMITS)).toThrow(MisuseError);
  });

  test.each([
    {},
    { acquireTimeoutMs: 0, queryTimeoutMs: 1_000 },
    { acquireTimeoutMs: 1_000, queryTimeoutMs: 2 ** 31 },
    { acquireTimeoutMs: 1_000, queryTimeoutMs: '5s' },
  ])('time-outs that are none are refused: %j', (options) => {
    expect(() => mysql2Port(newPool(), options as never)).toThrow(MisuseError);
  });

  test('after a statement that was too large, at which the server hangs up, the connection is not lent again', async () => {
    const sql = mysql2Port(newPool(), LIMITS);
    const tooLarge = sql.execute({ text: 'SELECT length(?) AS bytes', values: ['x'.repeat(20_000_000)] });
    // What the server answers is lost where it hangs up on bytes that are still coming: the connection is reset.
    await expect(tooLarge).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:REJECTED|CONNECTION_LOST)$/u),
    });
    expect((await sql.execute({ text: 'SELECT 1 AS one', values: [] })).rows).toEqual([{ one: 1 }]);
  });

  /** Lends the one connection of a classified pool. */
  function lender(options: Mysql2Options = LIMITS): () => Promise<PoolConnection> {
    const pool = classifiedMysql2Pool(newPool(), options);
    return () =>
      new Promise((resolve, reject) => {
        pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)));
      });
  }

  const query = (connection: PoolConnection, text: string) =>
    new Promise<unknown>((resolve, reject) => {
      connection.query(text, (error, result) => (error ? reject(error) : resolve(result)));
    });

  const idOf = async (connection: PoolConnection) =>
    ((await query(connection, SESSION_ID.mysql)) as { id: number }[])[0]?.id;

  test('a pool that does not count found rows is refused, and nothing was sent', async () => {
    const changedRows = mysql2Port(newPool({ flags: ['-FOUND_ROWS'] }), LIMITS);
    for (let twice = 0; twice < 2; twice++) {
      await expect(insert(changedRows, 'x')).rejects.toThrow(MisuseError);
      await expect(changedRows.transaction(async () => 'ran')).rejects.toThrow(MisuseError);
    }
    expect(await stored()).toEqual([]);
  });

  test('a connection is lent again as it was', async () => {
    const lend = lender();
    const first = await lend();
    const id = await idOf(first);
    first.release();
    expect(await idOf(await lend())).toBe(id);
  });

  test.each([
    { trace: 'a transaction', statements: ['START TRANSACTION', `INSERT INTO note VALUES ('left open')`] },
    { trace: 'a transaction that follows another', statements: ['START TRANSACTION', 'COMMIT AND CHAIN'] },
    { trace: 'a limit of its lock waits', statements: [limitLockWait(1_000).text] },
  ])('one that is released with $trace is not', async ({ statements }) => {
    const lend = lender();
    const first = await lend();
    const id = await idOf(first);
    for (const statement of statements) await query(first, statement);
    first.release();
    const second = await lend();
    expect(await idOf(second)).not.toBe(id);
    await query(second, 'COMMIT');
    expect(await stored()).toEqual([]);
  });

  test('nor is one that is released while a statement runs on it', async () => {
    const lend = lender();
    const first = await lend();
    const id = await idOf(first);
    const running = query(first, 'SELECT SLEEP(0.2)').catch(() => undefined);
    first.release();
    expect(await idOf(await lend())).not.toBe(id);
    await running;
  });

  test('one whose set-up takes longer than a caller waits is lent to the next', async () => {
    const lend = lender({ ...LIMITS, acquireTimeoutMs: 100, setUp: ['DO SLEEP(0.3)'] });
    await expect(lend()).rejects.toMatchObject({ code: 'UNAVAILABLE', effect: 'none' });
    const isLent = () =>
      lend().then(
        () => true,
        () => false,
      );
    await until(isLent, 5_000);
  });

  test('a pool that resets its connections, and with them their set-up, is refused', async () => {
    const resetting = mysql2Port(newPool({ resetOnRelease: true }), LIMITS);
    await expect(insert(resetting, 'x')).rejects.toThrow(MisuseError);
    expect(await stored()).toEqual([]);
  });

  test('a server whose sessions do not commit by themselves: a single statement does all the same', async () => {
    const pool = newPool();
    pool.on('connection', (connection) => connection.query('SET autocommit = 0'));
    await insert(mysql2Port(pool, LIMITS), 'committed');
    expect(await stored()).toEqual(['committed']);
  });

  test('of two statements at once, the second is not sent when the first has ended the transaction', async () => {
    await store.query('INSERT INTO counter VALUES (2, 0), (3, 0)');
    const update = (id: number) => `UPDATE counter SET n = n + 1 WHERE id = ${id}`;
    const rival = await store.connect();
    await rival.begin('READ COMMITTED');
    // InnoDB ends the transaction that has changed less.
    await rival.query(
      `INSERT INTO note VALUES ${Array.from({ length: 100 }, (_, row) => `('${row}')`).join()}`,
    );
    await rival.query(update(2));
    const failed = store.open().transaction(async (transaction) => {
      await run(transaction, update(1));
      const both = Promise.allSettled([run(transaction, update(2)), run(transaction, update(3))]);
      await until(async () => (await store.waitingForLocks()) === 1);
      await rival.query(update(1));
      const [first, second] = await both;
      expect(first).toMatchObject({ reason: { code: 'DEADLOCK' } });
      expect(second).toMatchObject({ reason: { code: 'ROLLED_BACK' } });
    });
    await expect(failed).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    await rival.query('ROLLBACK');
    const { rows } = await store.query('SELECT n FROM counter ORDER BY id');
    expect(rows).toEqual([{ n: 0 }, { n: 0 }, { n: 0 }]);
    await store.query('DELETE FROM counter WHERE id > 1');
  });

  test.each([true, false])(
    'a pool that is for groups (%s) is at READ COMMITTED and waits a second, and any other sees to that in each transaction',
    async (forGroups) => {
      const settings = { tx_isolation: `'REPEATABLE-READ'`, innodb_lock_wait_timeout: '7' };
      const sql = store.open({ over: 'together', forGroups, connections: 1, settings });
      const asked =
        'SELECT @@SESSION.innodb_lock_wait_timeout AS seconds, @@SESSION.tx_isolation AS isolation';
      const expected = forGroups
        ? { seconds: '1', isolation: 'READ-COMMITTED' }
        : { seconds: '7', isolation: 'REPEATABLE-READ' };
      expect((await run(sql, asked)).rows).toEqual([expected]);
      const texts = `SELECT text FROM note`;
      const readTwice = (written: string) =>
        sql.transaction(async (transaction) => {
          await run(transaction, texts);
          await store.query(`INSERT INTO note VALUES ('${written}')`);
          return (await run(transaction, texts)).rows.length;
        });
      // Each of its transactions, the second as the first.
      expect(await readTwice('one')).toBe(1);
      expect(await readTwice('two')).toBe(2);
      const reads = [
        'SELECT * FROM counter FOR UPDATE',
        'SELECT trx_isolation_level AS level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()',
      ].map((text) => ({ text, values: [] }));
      if (!forGroups) return;
      // Also where it is not said. (The table is kept for a tenth of a second: nobody else reads it.)
      const level = readThenWrite(sql, reads, ([, its]) => ({
        writes: [],
        result: () => its?.rows[0]?.level,
      }));
      expect(await level).toBe('READ COMMITTED');
    },
  );

  test('two limited waits at once do not leave their limit to the next', async () => {
    const sql = store.open({ connections: 1 });
    const lock = { table: 'counter', key: { id: 1 }, columns: ['n'], waitMs: 7_000 };
    const asked = 'SELECT @@SESSION.innodb_lock_wait_timeout AS seconds';
    const before = (await run(sql, asked)).rows;
    await sql.transaction((transaction) =>
      Promise.all([lockRow(transaction, lock), lockRow(transaction, lock)]),
    );
    expect((await run(sql, asked)).rows).toEqual(before);
  });

  test('a value that cannot be sent costs neither the connection nor the process', async () => {
    const sql = store.open({ connections: 1, queryTimeoutMs: 1_000 });
    const session = await sessionOf(sql);
    const rejected = { code: 'REJECTED', effect: 'none' };
    await expect(run(sql, 'SELECT ?', undefined as never)).rejects.toMatchObject(rejected);
    expect(await sessionOf(sql)).toBe(session);
    // Together past the time-out, which must not come for a statement that was never sent; each well within its own.
    await run(sql, 'SELECT sleep(0.6)');
    await run(sql, 'SELECT sleep(0.6)');
    expect(await sessionOf(sql)).toBe(session);
  });

  test('a connection that had broken before the COMMIT: it was not sent, so nothing was committed', async () => {
    const broken = store.open().transaction(async (transaction) => {
      await insert(transaction, 'lost');
      const id = await sessionOf(transaction);
      await store.kill(id);
      const gone = `SELECT 1 FROM information_schema.processlist WHERE id = ${id}`;
      await until(async () => (await store.query(gone)).rows.length === 0);
      for (let turn = 0; turn < 20; turn++) await nextTurn();
    });
    await expect(broken).rejects.toMatchObject(LOST_WITHOUT_EFFECT);
    expect(await stored()).toEqual([]);
  });

  test('after a stream that fails, nothing of its transaction passes', async () => {
    const lend = lender();
    const connection = await lend();
    await query(connection, 'START TRANSACTION');
    await query(connection, `INSERT INTO note VALUES ('streamed')`);
    const stream = connection.query('SELECT * FROM nowhere').stream();
    await expect(stream.toArray()).rejects.toThrow();
    await expect(query(connection, 'SELECT 1')).rejects.toMatchObject({ code: 'ROLLED_BACK' });
    await expect(query(connection, 'COMMIT')).rejects.toMatchObject({ code: 'ROLLED_BACK' });
    connection.release();
    expect(await stored()).toEqual([]);
  });

  test('the bare pool lends both, and the next to come commits what he never wrote', async () => {
    const bare = newPool().promise();
    const first = await bare.getConnection();
    await first.query('START TRANSACTION');
    await first.query(`INSERT INTO note VALUES ('left open')`);
    await first.query(`${LIMIT_LOCK_WAIT}, SESSION innodb_lock_wait_timeout = 7`);
    first.release();
    const second = await bare.getConnection();
    const [rows] = await second.query('SELECT @@SESSION.innodb_lock_wait_timeout AS seconds');
    expect(rows).toEqual([{ seconds: 7 }]);
    await second.query('COMMIT');
    expect(await stored()).toEqual(['left open']);
  });

  test('a statement that waits behind another of its transaction is given up with it', async () => {
    const proxy = await proxyTo(store.url);
    const sql = store.open({ port: proxy.port, queryTimeoutMs: 200 });
    const outcome = await transact(sql, async (transaction) => {
      await run(transaction, 'SELECT 1');
      proxy.fallSilent();
      const settled = await Promise.allSettled([run(transaction, 'SELECT 2'), run(transaction, 'SELECT 3')]);
      expect(settled).toMatchObject(Array(2).fill({ status: 'rejected', reason: LOST_WITHOUT_EFFECT }));
      return refused('declined');
    });
    expect(outcome).toEqual(refused('declined'));
  });

  test.each(['driver', 'kysely'] as const)(
    'a COMMIT that a cluster refuses as a deadlock is tried again (%s)',
    async (over) => {
      const deadlock = mysqlError(1213, '40001', 'Deadlock found when trying to get lock');
      const { port } = await proxyTo(store.url, (commit) => (commit === 1 ? deadlock : 'passes'));
      const sql = store.open({ over, port, connections: 1 });
      let attempts = 0;
      const outcome = await transactWithRetry(sql, async (transaction) => {
        attempts++;
        await insert(transaction, `attempt ${attempts}`);
        return done(attempts);
      });
      expect(outcome).toEqual(done(2));
      expect(await stored()).toEqual(['attempt 2']);
    },
  );
});
