import type { EventEmitter } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startProxy } from '../../../test/proxy.ts';
import { classifiedPgPool, pgPort } from '../src/adapters/pg.ts';
import { MisuseError, readThenWrite, type SqlPort, type SqlStatement, type SqlValue } from '../src/index.ts';
import { openStore, type Store } from './stores.ts';

// `pg` warns where statements wait in a client for others, as they do here on purpose.
process.noDeprecation = true;

/* What is particular to several statements in one message to PostgreSQL; what they come to is in `read-then-write.test.ts`. */

let store: Store;

beforeAll(async () => {
  store = await openStore('postgres');
  await store.query('CREATE TABLE thing (id int PRIMARY KEY, name text, made timestamptz, tree jsonb)');
});
afterAll(() => store.close());

const prepared = (text: string, ...values: SqlValue[]): SqlStatement => ({ text, values, prepared: true });
const add = (id: number, name = 'one') => prepared('INSERT INTO thing (id, name) VALUES ($1, $2)', id, name);

/** A pool of one session. */
function openPool(more: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: store.url, max: 1, ...more });
  onTestFinished(() => pool.end());
  return pool;
}

const namesIn = async (pool: pg.Pool) => {
  const { rows } = await pool.query(
    "SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name LIKE 'pawl%'",
  );
  return rows[0]?.n;
};

describe('statements that are prepared', () => {
  test('are prepared once in a session, also twice in a message, and again where that failed', async () => {
    const pool = openPool();
    const sql = pgPort(pool);
    const write = (...writes: SqlStatement[]) =>
      readThenWrite(sql, [prepared('SELECT id FROM thing WHERE id < $1', 0)], () => ({
        writes,
        result: (written) => written.map(({ affectedRows }) => affectedRows),
      }));
    const rename = prepared('UPDATE thing SET name = $2 WHERE id >= $1', 10, 'renamed');
    // The second insertion fails: nobody knows then how far the server has come with what is new.
    await expect(write(add(10), add(10), rename)).rejects.toMatchObject({ code: 'DUPLICATE_KEY' });
    expect(await write(add(10), add(11), rename)).toEqual([1, 1, 2]);
    expect(await write(add(12), rename)).toEqual([1, 3]);
    // These, and the setting before them.
    expect(await namesIn(pool)).toBe(4);
  });

  test('are not prepared where a pooler would not know of them', async () => {
    const pool = openPool();
    const sql = pgPort(pool, { prepared: false });
    for (const id of [20, 21]) {
      await readThenWrite(sql, [], () => ({ writes: [add(id)], result: () => undefined }));
    }
    expect(await namesIn(pool)).toBe(0);
  });
});

test('rows are what the driver makes of them', async () => {
  const pool = openPool();
  await pool.query(`INSERT INTO thing VALUES (30, NULL, '2024-05-01 12:34:56.789+00', '{"a": [1]}')`);
  const text = 'SELECT *, id::bigint AS big, ARRAY[id] AS list, true AS yes FROM thing WHERE id = $1';
  const { rows } = await pool.query(text, [30]);
  const sql = pgPort(pool);
  for (let time = 0; time < 2; time++) {
    const [read] = await readThenWrite(sql, [prepared(text, 30), prepared('SELECT 1 AS one')], (read) => ({
      writes: [],
      result: () => read,
    }));
    expect(read?.rows).toEqual(rows);
  }
});

test.each([false, true])(
  'over a client that pipelines, each statement is sent by itself, and comes to the same (for groups: %s)',
  async (forGroups) => {
    const sql = pgPort(openPool({ pipeline: true } as pg.PoolConfig), { forGroups });
    await store.query('DELETE FROM thing WHERE id >= 40');
    const written = readThenWrite(sql, [prepared('SELECT 1')], () => ({
      writes: [add(40), add(41)],
      result: (results) => results.length,
    }));
    expect(await written).toBe(2);
    for (const reads of [[prepared('SELECT 1')], []]) {
      const failed = readThenWrite(sql, reads, () => ({
        writes: [add(42), add(42)],
        result: () => undefined,
      }));
      await expect(failed).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
    }
    const { rows } = await store.query('SELECT id FROM thing WHERE id >= 40 ORDER BY id');
    expect(rows.map(({ id }) => id)).toEqual([40, 41]);
  },
);

test.each(['read committed', 'repeatable read', 'serializable'])(
  'several statements that nothing is read for are READ COMMITTED, where the session’s default is %s',
  async (level) => {
    const sql = pgPort(
      openPool({ options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}` }),
    );
    const its = prepared(
      "SELECT current_setting('transaction_isolation') AS level, pg_current_xact_id() AS id",
    );
    for (let time = 0; time < 3; time++) {
      const [first, second] = await readThenWrite(sql, [], () => ({
        writes: [its, its],
        result: (all) => all,
      }));
      expect([first, second].map((one) => one?.rows[0]?.level)).toEqual(['read committed', 'read committed']);
      expect(first?.rows[0]?.id).toBe(second?.rows[0]?.id);
    }
  },
);

describe('rows are found by an index, whatever was planned', () => {
  const its = prepared(
    "SELECT current_setting('enable_seqscan') AS scans, current_setting('transaction_isolation') AS level",
  );
  const settings = { options: '-c default_transaction_isolation=serializable' };
  /** In the transactions of a group: one that reads first, one that is a statement, and one that is two. */
  async function seenBy(sql: SqlPort) {
    const [read] = await readThenWrite(sql, [its], (read) => ({ writes: [], result: () => read }));
    const [alone] = await readThenWrite(sql, [], () => ({ writes: [its], result: (all) => all }));
    const both = await readThenWrite(sql, [], () => ({ writes: [its, its], result: (all) => all }));
    return [read, alone, ...both].map((one) => one?.rows[0]);
  }
  const inSession = async (pool: pg.Pool) => (await pool.query(its.text)).rows[0];

  test('in each transaction of a group, and in no other of its session', async () => {
    const pool = openPool(settings);
    const [read, alone, ...both] = await seenBy(pgPort(pool));
    const chosen = { scans: 'off', level: 'read committed' };
    // A statement by itself is at the level of its session.
    expect([read, ...both]).toEqual([chosen, chosen, chosen]);
    expect(alone).toEqual({ scans: 'off', level: 'serializable' });
    expect(await inSession(pool)).toEqual({ scans: 'on', level: 'serializable' });
  });

  test('in all transactions of a pool that is for groups, which are READ COMMITTED', async () => {
    const pool = openPool(settings);
    expect((await pgPort(openPool(settings), { forGroups: true }).execute(its)).rows).toEqual([
      { scans: 'off', level: 'read committed' },
    ]);
    expect(() => pgPort(pool, { forGroups: true, prepared: false })).toThrow(MisuseError);
    const chosen = { scans: 'off', level: 'read committed' };
    expect(await seenBy(pgPort(pool, { forGroups: true }))).toEqual([chosen, chosen, chosen, chosen]);
    expect(await inSession(pool)).toEqual(chosen);
  });

  test('in a session that was told to forget all, when it is noticed', async () => {
    const pool = openPool();
    const sql = pgPort(pool, { forGroups: true });
    const read = () => readThenWrite(sql, [its], ([read]) => ({ writes: [], result: () => read?.rows[0] }));
    expect(await read()).toMatchObject({ scans: 'off' });
    await pool.query('DISCARD ALL');
    await expect(read()).rejects.toMatchObject({ code: 'SERIALIZATION_FAILURE', effect: 'none' });
    expect(await read()).toMatchObject({ scans: 'off' });
  });

  test.each(['that is open', 'that has failed', 'that is about to begin', 'that begins meanwhile'])(
    'a connection that could not be told so is lent to nobody, and nothing was done on it (in a transaction %s)',
    async (which) => {
      const pool = openPool();
      const sql = pgPort(pool, { forGroups: true });
      const left = await pool.connect();
      if (which === 'that begins meanwhile') beginWhenAsked(left);
      else {
        const begun = left.query('BEGIN');
        if (which !== 'that is about to begin') await begun;
        if (which === 'that has failed')
          await expect(left.query('SELECT 1 / 0')).rejects.toMatchObject({ code: '22012' });
        left.release();
      }
      const read = () => readThenWrite(sql, [its], ([read]) => ({ writes: [], result: () => read?.rows[0] }));
      await expect(read()).rejects.toMatchObject({ effect: 'none' });
      expect(await read()).toMatchObject({ scans: 'off' });
    },
  );
});

test.each([
  [1, false],
  [2, false],
  [1, true],
])(
  'in a connection that was given back in the middle of a transaction nothing is told to be committed: %i statements, pipelined: %s',
  async (count, pipeline) => {
    await store.query('DELETE FROM thing WHERE id >= 60');
    const pool = openPool({ pipeline } as pg.PoolConfig);
    const sql = pgPort(pool);
    const write = (from: number) =>
      readThenWrite(sql, [], () => ({
        writes: Array.from({ length: count }, (_, index) => add(from + index)),
        result: () => 'committed',
      }));
    expect(await write(60 + 10 * count)).toBe('committed');
    await pool.query('BEGIN');
    await expect(write(65 + 10 * count)).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    expect(await write(68 + 10 * count)).toBe('committed');
    const { rows } = await pool.query('SELECT count(*)::int AS n FROM thing WHERE id BETWEEN $1 AND $2', [
      60 + 10 * count,
      69 + 10 * count,
    ]);
    expect(rows[0]?.n).toBe(2 * count);
  },
);

describe.each([true, false])('a transaction that somebody has left open (for groups: %s)', (forGroups) => {
  const ways: Record<string, (sql: SqlPort, id: number) => Promise<unknown>> = {
    'a statement': (sql, id) => sql.execute(add(id)),
    'a transaction': (sql, id) => sql.transaction((transaction) => transaction.execute(add(id))),
    'what is read for': (sql, id) =>
      readThenWrite(sql, [prepared('SELECT 1')], () => ({ writes: [add(id)], result: () => undefined })),
    'a message': (sql, id) => readThenWrite(sql, [], () => ({ writes: [add(id)], result: () => undefined })),
    'a message of two': (sql, id) =>
      readThenWrite(sql, [], () => ({ writes: [add(id), prepared('SELECT 1')], result: () => undefined })),
  };

  const from90 = async () =>
    (await store.query('SELECT id FROM thing WHERE id >= 90 ORDER BY id')).rows.map(({ id }) => id);

  test.each(Object.keys(ways))('is not committed by %s, which is told so, and not done', async (way) => {
    const write = ways[way] as (typeof ways)[string];
    await store.query('DELETE FROM thing WHERE id >= 90');
    const pool = openPool();
    const sql = pgPort(pool, { forGroups });
    await write(sql, 90);
    const left = await pool.connect();
    await left.query('BEGIN');
    await left.query("INSERT INTO thing VALUES (91, 'left')");
    left.release();
    await expect(write(sql, 92)).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    await write(sql, 93);
    expect(await from90()).toEqual([90, 93]);
  });

  test.each(Object.keys(ways))('or is about to begin: %s is not done', async (way) => {
    const write = ways[way] as (typeof ways)[string];
    await store.query('DELETE FROM thing WHERE id >= 90');
    const pool = openPool();
    const sql = pgPort(pool, { forGroups });
    await write(sql, 90);
    const left = await pool.connect();
    left.query('BEGIN').catch(() => undefined);
    left.query("INSERT INTO thing VALUES (91, 'left')").catch(() => undefined);
    left.release();
    await expect(write(sql, 92)).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
    await write(sql, 93);
    expect(await from90()).toEqual([90, 93]);
  });

  test.each(['a statement', 'a message'])(
    'or begins when its connection has been found idle: whether %s is committed is unknown',
    async (way) => {
      const write = ways[way] as (typeof ways)[string];
      await store.query('DELETE FROM thing WHERE id >= 90');
      const pool = openPool();
      const sql = pgPort(pool, { forGroups });
      await write(sql, 90);
      beginWhenAsked(await pool.connect());
      await expect(write(sql, 91)).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
      // It is lent to nobody any more.
      await write(sql, 92);
      expect(await from90()).toEqual([90, 92]);
    },
  );

  test.each(['a statement', 'a message'])(
    'or begins when its connection has been found idle: if %s fails, nobody else is lent it',
    async (way) => {
      const write = ways[way] as (typeof ways)[string];
      await store.query('DELETE FROM thing WHERE id >= 90');
      const pool = openPool();
      const sql = pgPort(pool, { forGroups });
      await write(sql, 90);
      const left = await pool.connect();
      endAnswersLate(left);
      beginWhenAsked(left);
      await expect(write(sql, 90)).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
      const next = await pool.connect();
      next.release();
      expect(next).not.toBe(left);
    },
  );

  describe.each([false, true])('pipelined: %s', (pipeline) => {
    test.each(Object.keys(ways))(
      'or that is about to be committed is, and so is %s after it',
      async (way) => {
        const write = ways[way] as (typeof ways)[string];
        await store.query('DELETE FROM thing WHERE id >= 90');
        const pool = openPool({ pipeline } as pg.PoolConfig);
        const sql = pgPort(pool, { forGroups });
        await write(sql, 90);
        const left = await pool.connect();
        await left.query('BEGIN');
        await left.query("INSERT INTO thing VALUES (91, 'left')");
        const committed = left.query('COMMIT');
        left.release();
        await write(sql, 92);
        expect((await committed).command).toBe('COMMIT');
        expect(await from90()).toEqual([90, 91, 92]);
        const lent = await pool.connect();
        lent.release();
        expect(lent).toBe(left);
      },
    );
  });

  test.each(Object.keys(ways))('or whose COMMIT was refused is over: %s is done', async (way) => {
    const write = ways[way] as (typeof ways)[string];
    await store.query('DELETE FROM thing WHERE id >= 90');
    await store.query('CREATE TABLE IF NOT EXISTS late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
    const pool = openPool();
    const sql = pgPort(pool, { forGroups });
    const left = await pool.connect();
    await left.query('BEGIN');
    await left.query('INSERT INTO late VALUES (1), (1)');
    endAnswersLate(left);
    await expect(left.query('COMMIT')).rejects.toMatchObject({ code: '23505' });
    expect(left.getTransactionStatus()).toBe('T');
    left.release();
    await write(sql, 90);
    expect(await from90()).toEqual([90]);
  });

  test('or is not known to be over, as the server does not answer: nothing is sent', async () => {
    const proxy = await startProxy(store.url);
    onTestFinished(() => proxy.close());
    const url = new URL(store.url);
    url.port = String(proxy.port);
    const pool = openPool({ connectionString: url.href, query_timeout: 200 });
    const sql = pgPort(pool, { forGroups });
    const left = await pool.connect();
    await left.query('BEGIN');
    proxy.fallSilent();
    left.query('COMMIT').catch(() => undefined);
    left.release();
    await expect(sql.execute(prepared('SELECT 1'))).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      effect: 'none',
    });
  });
});

test('a client that throws where it is asked whether a transaction is open is one that does not tell', async () => {
  /** As over a `pg-native` up to 3.7. */
  class Native extends pg.Client {
    override getTransactionStatus(): never {
      throw new TypeError('this.native.getTransactionStatus is not a function');
    }
  }
  await store.query('DELETE FROM thing WHERE id >= 90');
  const sql = pgPort(openPool({ Client: Native } as pg.PoolConfig));
  await sql.execute(add(90));
  await sql.transaction((transaction) => transaction.execute(add(91)));
  for (const writes of [[add(92)], [add(93), add(94)]]) {
    await readThenWrite(sql, [], () => ({ writes, result: () => undefined }));
  }
  const { rows } = await store.query('SELECT count(*)::int AS n FROM thing WHERE id >= 90');
  expect(rows[0]?.n).toBe(5);
});

/** Its former holder begins a transaction as soon as somebody has asked it whether it is in one. */
function beginWhenAsked(client: pg.PoolClient): void {
  const { getTransactionStatus } = client;
  client.getTransactionStatus = () => {
    client.getTransactionStatus = getTransactionStatus;
    queueMicrotask(() => client.query('BEGIN').catch(() => undefined));
    return getTransactionStatus.call(client);
  };
  client.release();
}

/** The server says that it is ready again later than what went wrong, as when the two come in packets of their own. */
function endAnswersLate(client: pg.PoolClient): void {
  const { connection } = client as unknown as { connection: EventEmitter };
  const emit = connection.emit.bind(connection);
  connection.emit = (name, ...args) => {
    if (name !== 'readyForQuery') return emit(name, ...args);
    setImmediate(emit, name, ...args);
    return true;
  };
}

test.each([false, true])(
  'two ports over one pool, one of them classified, know the same sessions (for groups: %s)',
  async (forGroups) => {
    const pool = openPool();
    for (const sql of [pgPort(pool, { forGroups }), pgPort(classifiedPgPool(pool), { forGroups })]) {
      for (const writes of [[prepared('SELECT 1')], [prepared('SELECT 1'), prepared('SELECT 2')]]) {
        const written = readThenWrite(sql, [], () => ({ writes, result: (results) => results.length }));
        expect(await written).toBe(writes.length);
      }
    }
    expect(pool.totalCount).toBe(1);
  },
);

test('over a classified pool it is the same port', async () => {
  const sql = pgPort(classifiedPgPool(openPool()), { forGroups: true });
  expect((await sql.execute(prepared('SELECT 1 AS one'))).rows).toEqual([{ one: 1 }]);
  const nowhere = new pg.Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' });
  onTestFinished(() => nowhere.end());
  await expect(pgPort(classifiedPgPool(nowhere)).execute(prepared('SELECT 1'))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  });
});

test('a time limit of the server for a transaction ends the session, which is lent to nobody any more', async () => {
  const sql = pgPort(openPool({ options: '-c transaction_timeout=100' }));
  const slow = readThenWrite(sql, [prepared('SELECT pg_sleep(5)')], () => ({
    writes: [],
    result: () => undefined,
  }));
  await expect(slow).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'none' });
  await expect(sql.execute(prepared('SELECT pg_sleep(5)'))).rejects.toMatchObject({
    code: 'CONNECTION_LOST',
    effect: 'unknown',
  });
  expect((await sql.execute(prepared('SELECT 1 AS one'))).rows).toEqual([{ one: 1 }]);
});

describe('a value that cannot be sent is refused before anything is, and the connection goes on', () => {
  const gone = new Uint8Array(8);
  structuredClone(gone, { transfer: [gone.buffer] });
  const goneToo = Buffer.alloc(8);
  structuredClone(goneToo.buffer, { transfer: [goneToo.buffer] });
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const unfit = {
    'bytes that are gone': gone,
    'a Buffer that is gone': goneToo,
    itself: circular,
    'a moment that is none': new Date(Number.NaN),
  };

  describe.each([false, true])('pipelined: %s', (pipeline) => {
    test.each(Object.entries(unfit))('%s', async (_, value) => {
      const pool = openPool({ pipeline } as pg.PoolConfig);
      const sql = pgPort(pool);
      const statement = prepared('SELECT $1::bytea', value as SqlValue);
      const session = async () => (await pool.query('SELECT pg_backend_pid() AS id')).rows[0]?.id;
      const before = await session();
      const refusal = { code: 'REJECTED', effect: 'none' };
      await expect(sql.execute(statement)).rejects.toMatchObject(refusal);
      const written = readThenWrite(sql, [], () => ({ writes: [statement], result: () => undefined }));
      await expect(written).rejects.toMatchObject(refusal);
      expect(await session()).toBe(before);
    });
  });
});

test.each([
  ['by itself', undefined, 1],
  ['in a list', undefined, 2],
  ['by itself, of a type that is told', { id: 'integer', bytes: 'bytea' } as const, 1],
  ['in a list, of a type that is told', { id: 'integer', bytes: 'bytea' } as const, 2],
])('bytes that are gone are not written as none: %s', async (_, types, count) => {
  await store.query('CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY, bytes bytea)');
  const sql = pgPort(openPool());
  const bytes = Buffer.alloc(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  const rows = Array.from({ length: count }, (_, id) => ({ id, bytes }));
  const written = readThenWrite(sql, [], () => ({
    writes: [sql.dialect.batch.insertRows({ table: 'kept', rows, ...(types && { types }) })],
    result: () => undefined,
  }));
  await expect(written).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
  expect((await store.query('SELECT * FROM kept')).rows).toEqual([]);
});

test('the last moment that there is can be stored, whatever the time zone', async () => {
  const sql = pgPort(openPool());
  const zone = process.env.TZ;
  onTestFinished(() => {
    // Assigning it is what makes the clock look again.
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  });
  await store.query('DELETE FROM thing WHERE id >= 80');
  const ends = [new Date(8.64e15), new Date(8.64e15 - 1), new Date('0001-01-01T00:00:00Z')];
  for (const [index, timeZone] of ['Asia/Seoul', 'America/New_York'].entries()) {
    process.env.TZ = timeZone;
    for (const [place, moment] of ends.entries()) {
      const id = 80 + 3 * index + place;
      const rows = [{ id, made: moment }];
      await readThenWrite(sql, [], () => ({
        writes: [sql.dialect.batch.insertRows({ table: 'thing', rows })],
        result: () => undefined,
      }));
    }
  }
  const { rows } = await store.query(
    'SELECT extract(epoch FROM made)::float8 * 1000 AS ms FROM thing WHERE id >= 80 ORDER BY id',
  );
  expect(rows.map(({ ms }) => ms)).toEqual([...ends, ...ends].map(Number));
});

test('a statement that waits for what it is to copy costs its connection, and nothing else', async () => {
  const sql = pgPort(openPool());
  const copied = readThenWrite(sql, [], () => ({
    writes: [{ text: 'COPY thing FROM STDIN', values: [] }],
    result: () => undefined,
  }));
  await expect(copied).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  await readThenWrite(sql, [], () => ({ writes: [add(50)], result: () => undefined }));
});
