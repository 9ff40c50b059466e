import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { type CommitFate, mysqlError, startProxy } from '../../../test/proxy.ts';
import { withLiterals } from '../src/adapters/mysql-literals.ts';
import {
  type Decision,
  readThenWrite,
  type SqlPort,
  type SqlStatement,
  type SqlValue,
  type StoreError,
} from '../src/index.ts';
import { openStore, type PortOptions, SESSION_ID, type Store } from './stores.ts';

const forms = [
  { on: 'postgres', over: 'driver' },
  { on: 'postgres', over: 'together' },
  { on: 'mariadb', over: 'driver' },
  { on: 'mariadb', over: 'together' },
] as const;

const LOST = { code: 'CONNECTION_LOST', effect: 'unknown' };
const LOST_WITHOUT_EFFECT = { code: 'CONNECTION_LOST', effect: 'none' };

let store: Store;

const statement = (text: string, ...values: SqlValue[]) => store.statement(text, ...values);
const insert = (text: string) => statement('INSERT INTO note VALUES (?)', text);
const writing = (...writes: SqlStatement[]): Decision<string> => ({ writes, result: () => 'committed' });
const stored = async () =>
  (await store.query('SELECT text FROM note ORDER BY text')).rows.map(({ text }) => text);
const sessionOf = async (sql: SqlPort) =>
  Number((await sql.execute(statement(SESSION_ID[store.kind]))).rows[0]?.id);

async function proxyTo(fate: CommitFate): Promise<number> {
  const proxy = await startProxy(store.url, () => fate);
  onTestFinished(() => proxy.close());
  return proxy.port;
}

/** Somebody who holds the row of the counter until he is told to commit. */
async function holder(change: string): Promise<{ commit(): Promise<unknown> }> {
  const session = await store.connect();
  await session.begin('READ COMMITTED');
  await session.query(change);
  return { commit: () => session.query('COMMIT') };
}

describe.each(forms)('reading, then writing: $on, $over', ({ on, over }) => {
  const open = (options: PortOptions = {}) => store.open({ over, connections: 1, ...options });

  beforeAll(async () => {
    store = await openStore(on);
    await store.query('CREATE TABLE note (text varchar(50) PRIMARY KEY)');
    await store.query('CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)');
    await store.query('INSERT INTO counter VALUES (1, 0)');
  });
  beforeEach(() => store.query('DELETE FROM note'));
  afterEach(() => store.endSessions());
  afterAll(() => store.close());

  test('what was decided upon what was read is committed, and each statement has its result', async () => {
    await store.query('UPDATE counter SET n = 41');
    const reads = [statement('SELECT n FROM counter'), statement('SELECT text FROM note')];
    const seen = await readThenWrite(open(), reads, ([counter, notes]) => {
      const n = Number(counter?.rows[0]?.n) + 1;
      return {
        writes: [statement('UPDATE counter SET n = ? WHERE n = ?', n, n - 1), insert('one'), insert('two')],
        result: (written) => ({ notes: notes?.rows.length, written: written.map((one) => one.affectedRows) }),
      };
    });
    expect(seen).toEqual({ notes: 0, written: [1, 1, 1] });
    expect(await stored()).toEqual(['one', 'two']);
    expect((await store.query('SELECT n FROM counter')).rows[0]?.n).toBe(42);
  });

  test('an interim decision may have nothing to write', async () => {
    const seen = readThenWrite(open(), [statement('SELECT n FROM counter')], () => ({
      writes: [],
      next: (none) => ({ writes: [insert(`after ${none.length}`)], result: () => 'committed' }),
    }));
    expect(await seen).toBe('committed');
    expect(await stored()).toEqual(['after 0']);
  });

  test('a decision that throws, and one without anything to write, keep nothing and no lock', async () => {
    const sql = open();
    const lock = statement('SELECT n FROM counter FOR UPDATE');
    const thrown = readThenWrite(sql, [lock], () => {
      throw new TypeError('a bug');
    });
    await expect(thrown).rejects.toThrow(TypeError);
    expect(await readThenWrite(sql, [lock], () => writing())).toBe('committed');
    await store.query('UPDATE counter SET n = 0');
    expect(await readThenWrite(sql, [lock], () => writing(insert('next')))).toBe('committed');
    expect(await stored()).toEqual(['next']);
  });

  test('a statement that fails leaves nothing of those beside it, nor anything to the next transaction', async () => {
    const sql = open();
    const session = await sessionOf(sql);
    const read = readThenWrite(sql, [statement('SELECT * FROM nowhere')], () => writing(insert('unread')));
    await expect(read).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
    const write = readThenWrite(sql, [statement('SELECT 1')], () =>
      writing(insert('first'), insert('twice'), insert('twice'), insert('last')),
    );
    await expect(write).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
    await sql.execute(insert('alone'));
    expect(await readThenWrite(sql, [statement('SELECT 1')], () => writing(insert('next')))).toBe(
      'committed',
    );
    expect(await stored()).toEqual(['alone', 'next']);
    expect(await sessionOf(sql)).toBe(session);
  });

  test('nothing is read: several statements are committed together, or none of them', async () => {
    const sql = open();
    const twice = readThenWrite(sql, [], () => writing(insert('first'), insert('twice'), insert('twice')));
    await expect(twice).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
    expect(await stored()).toEqual([]);
    expect(await readThenWrite(sql, [], () => writing(insert('one'), insert('two')))).toBe('committed');
    expect(await stored()).toEqual(['one', 'two']);
  });

  // Elsewhere it is the driver's: what it sends, or does not.
  if (over === 'together')
    test('a value that cannot be sent is refused before anything is written, and spoils no connection', async () => {
      const sql = open();
      const session = await sessionOf(sql);
      const circular: { self?: unknown } = {};
      circular.self = circular;
      for (const unfit of [circular, new Date(Number.NaN)] as SqlValue[]) {
        const half = readThenWrite(sql, [statement('SELECT 1')], () => {
          const last = { ...insert('last'), values: [unfit] };
          return writing(insert('first'), last);
        });
        await expect(half).rejects.toMatchObject({ effect: 'none' });
      }
      expect(await readThenWrite(sql, [statement('SELECT 1')], () => writing(insert('next')))).toBe(
        'committed',
      );
      expect(await stored()).toEqual(['next']);
      expect(await sessionOf(sql)).toBe(session);
    });

  test.each([
    { fate: 'answer-lost', kept: ['x'] },
    { fate: 'request-lost', kept: [] },
  ] as const)('a COMMIT whose $fate is unknown: the row may be there, or not', async ({ fate, kept }) => {
    const sql = open({ port: await proxyTo(fate) });
    const cut = readThenWrite(sql, [statement('SELECT 1')], () => writing(insert('x')));
    await expect(cut).rejects.toMatchObject(LOST);
    expect(await stored()).toEqual(kept);
  });

  test('lost while it waits to read, it had no effect', async () => {
    const sql = open();
    const session = await sessionOf(sql);
    await holder('UPDATE counter SET n = 1');
    const reading = readThenWrite(sql, [statement('SELECT n FROM counter FOR UPDATE')], () =>
      writing(insert('x')),
    );
    const lost = expect(reading).rejects.toMatchObject(LOST_WITHOUT_EFFECT);
    await until(async () => (await store.waitingForLocks()) === 1);
    await store.kill(session);
    await lost;
    expect(await stored()).toEqual([]);
  });

  test('a later statement than the one that waited for a lock reads what was committed meanwhile', async () => {
    const other = await holder('UPDATE counter SET n = 7');
    const sql = open({ settings: store.defaultIsolation('REPEATABLE READ') });
    const reads = [
      statement('SELECT id FROM counter FOR UPDATE'),
      statement('SELECT text FROM note'),
      statement('SELECT n FROM counter'),
    ];
    const seen = readThenWrite(sql, reads, ([, notes, counter]) => ({
      writes: [],
      result: () => [notes?.rows.length, counter?.rows[0]?.n],
    }));
    await until(async () => (await store.waitingForLocks()) === 1);
    await store.query("INSERT INTO note VALUES ('meanwhile')");
    await other.commit();
    expect(await seen).toEqual([1, 7]);
  });

  test('a limit for lock waits ends with its transaction, whatever comes of it', async () => {
    const sql = open();
    const limit = async () => {
      const setting = store.kind === 'postgres' ? 'SHOW lock_timeout' : 'SELECT @@innodb_lock_wait_timeout';
      return Object.values((await sql.execute(statement(setting))).rows[0] ?? {});
    };
    const before = await limit();
    const session = await sessionOf(sql);
    const { limitLockWait, restoreLockWait } = sql.dialect;
    const reads = [limitLockWait(1_000), statement('SELECT n FROM counter FOR UPDATE')];
    expect(await readThenWrite(sql, reads, () => writing(restoreLockWait))).toBe('committed');
    expect(await limit()).toEqual(before);
    if (over === 'together') {
      expect(await readThenWrite(sql, reads, () => writing())).toBe('committed');
      expect(await limit()).toEqual(before);
    }
    const other = await holder('UPDATE counter SET n = 1');
    const late = readThenWrite(sql, reads, () => writing(insert('late'), restoreLockWait));
    await expect(late).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
    await other.commit();
    expect(await limit()).toEqual(before);
    // Only where it is known how far the statements came, the session is kept.
    if (over === 'together') expect(await sessionOf(sql)).toBe(session);
    expect(await stored()).toEqual([]);
  });

  test('all signs of ASCII come back, as text and as bytes', async () => {
    const all = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index));
    const texts = [all.join(''), all.filter((sign) => !`'\\`.includes(sign)).join('')];
    const blob = store.kind === 'postgres' ? 'bytea' : 'blob';
    await store.query(`CREATE TABLE kept (n integer, t text, b ${blob})`);
    onTestFinished(async () => void (await store.query('DROP TABLE kept')));
    const modes = store.kind === 'postgres' ? [{}] : ["''", "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"];
    for (const mode of modes) {
      const sql = open(typeof mode === 'string' ? { settings: { sql_mode: mode } } : {});
      const row = statement('INSERT INTO kept VALUES (?, ?, ?)');
      const values = texts.map((text, n) => ({ ...row, values: [n, text, Buffer.from(text)] }));
      await readThenWrite(sql, [], () => writing(...values));
      const { rows } = await sql.execute(statement('SELECT t, b FROM kept ORDER BY n'));
      expect(rows.map(({ t, b }) => ({ t, b: String(b) }))).toEqual(
        texts.map((text) => ({ t: text, b: text })),
      );
      await store.query('DELETE FROM kept');
    }
  });

  test('values come back as they were given', async () => {
    const moment = new Date('2024-05-01T12:34:56.789Z');
    const bytes = new Uint8Array([0, 39, 92, 255]);
    const text = `"quo'ted" \\ \\' ✓ 😀 \u0001 ? $1 -- /* ; */`;
    const [blob, time] = store.kind === 'postgres' ? ['bytea', 'timestamptz'] : ['blob', 'datetime(6)'];
    await store.query(
      `CREATE TABLE kept (t text, e text, b ${blob}, m ${time}, n bigint, f double precision, y boolean, z text)`,
    );
    onTestFinished(async () => void (await store.query('DROP TABLE kept')));
    const modes =
      store.kind === 'postgres' ? {} : { sql_mode: "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,TRADITIONAL'" };
    const big = 9_007_199_254_740_993n;
    const row = statement('INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    const values = [text, '', bytes, moment, big, -1.5e-7, true, null];
    const sql = open({ settings: modes });
    await readThenWrite(sql, [statement('SELECT 1')], () => writing({ ...row, values }));
    const { rows } = await sql.execute(
      statement('SELECT t, e, b, m, n, f, z FROM kept WHERE y AND t = ? AND m = ?', text, moment),
    );
    expect(rows.map((one) => ({ ...one, b: new Uint8Array(one.b as Buffer), n: String(one.n) }))).toEqual([
      { t: text, e: '', b: bytes, m: moment, n: String(big), f: -1.5e-7, z: null },
    ]);
  });
});

test('bytes beside a number are what they spell, as where they are a parameter (MariaDB)', async () => {
  const database = await openStore('mariadb');
  onTestFinished(() => database.close());
  await database.query('CREATE TABLE priced (price decimal(10, 2) PRIMARY KEY, what varchar(10))');
  await database.query("INSERT INTO priced VALUES (1.50, 'tea'), (2.00, 'milk'), (42, 'wine')");
  const sql = database.open({ over: 'together' });
  for (const [digits, what] of [
    ['1.50', 'tea'],
    ['42', 'wine'],
  ]) {
    const keys = [{ price: Buffer.from(digits ?? '') }];
    const read = sql.dialect.batch.readRows({ table: 'priced', keys, columns: ['what'] });
    const together = await readThenWrite(sql, [read], ([found]) => ({
      writes: [],
      result: () => found?.rows,
    }));
    expect([together, (await sql.execute(read)).rows]).toMatchObject([[{ what }], [{ what }]]);
  }
});

test('a statement that was prepared before its table changed, or was forgotten, fails once at most, and may be tried again (PostgreSQL)', async () => {
  const database = await openStore('postgres');
  onTestFinished(() => database.close());
  await database.query('CREATE TABLE changing (id int)');
  const sql = database.open({ over: 'together', connections: 1 });
  const reads = [{ text: 'SELECT * FROM changing', values: [], prepared: true }];
  const columns = () =>
    readThenWrite(sql, reads, () => ({ writes: [], result: () => 'read' })).catch(
      ({ code, effect }: StoreError) => `${code} ${effect}`,
    );
  expect(await columns()).toBe('read');
  await database.query('ALTER TABLE changing ADD COLUMN more int');
  expect([await columns(), await columns()]).toEqual(['SERIALIZATION_FAILURE none', 'read']);
  await sql.execute({ text: 'DEALLOCATE ALL', values: [] });
  expect([await columns(), await columns()]).toEqual(['SERIALIZATION_FAILURE none', 'read']);
  // One that the server would never take is no such.
  const never = [{ text: 'SELECT DISTINCT id FROM changing FOR UPDATE', values: [], prepared: true }];
  for (let time = 0; time < 2; time++) {
    const asked = readThenWrite(sql, never, () => ({ writes: [], result: () => undefined }));
    await expect(asked).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
  }
});

test('a statement whose column has got another type fails once at most (PostgreSQL)', async () => {
  const database = await openStore('postgres');
  onTestFinished(() => database.close());
  await database.query('CREATE TABLE typed (id int PRIMARY KEY, n smallint)');
  await database.query('INSERT INTO typed VALUES (1, 1)');
  const sql = database.open({ over: 'together', connections: 1 });
  const set = (n: number) =>
    readThenWrite(sql, [], () => ({
      writes: [{ text: 'UPDATE typed SET n = $1 WHERE id = 1', values: [n], prepared: true }],
      result: () => 'set',
    })).catch((error: StoreError) => error.code);
  expect(await set(2)).toBe('set');
  await database.query('ALTER TABLE typed ALTER COLUMN n TYPE bigint');
  expect([await set(3e9), await set(3e9)]).toEqual(['REJECTED', 'set']);
});

test('a transaction that could not be rolled back is not committed by the next one on its connection (MariaDB)', async () => {
  const database = await openStore('mariadb');
  onTestFinished(() => database.close());
  await database.query('CREATE TABLE kept (text varchar(50) PRIMARY KEY)');
  const refusal = mysqlError(1_317, '70100', 'simulated');
  const proxy = await startProxy(
    database.url,
    () => refusal,
    (data) => data.includes('ROLLBACK'),
  );
  onTestFinished(() => proxy.close());
  const sql = database.open({ over: 'together', connections: 1, port: proxy.port });
  const inserts = (...texts: string[]) =>
    readThenWrite(sql, [database.statement('SELECT 1')], () =>
      writing(...texts.map((text) => database.statement('INSERT INTO kept VALUES (?)', text))),
    );
  await expect(inserts('half', 'twice', 'twice')).rejects.toMatchObject({ code: 'DUPLICATE_KEY' });
  await inserts('next');
  // The server ends what a lost connection has left when it notices that.
  await until(async () => {
    const { rows } = await database.query('SELECT text FROM kept ORDER BY text');
    return rows.length === 1 && rows[0]?.text === 'next';
  });
});

describe('values written into a statement', () => {
  const written = (text: string, ...values: SqlValue[]) => withLiterals({ text, values }, 'Z');

  test('a mark in quotes or in a name is none, and nothing that was given could end the quotes that it stands in', () => {
    expect(written("SELECT '?', `a?b`, \"?\", 'it''s ?', ? AS x", "'; DROP TABLE t; --")).toBe(
      `SELECT '?', \`a?b\`, "?", 'it''s ?', _utf8mb4 x'${Buffer.from("'; DROP TABLE t; --").toString('hex')}' AS x`,
    );
  });

  // What ends quotes, what is not ASCII, and what may be another letter elsewhere.
  const signs = [
    "'",
    '\\',
    '\0',
    '\n',
    '\x7f',
    'é',
    '\u2019',
    '\uff07',
    '"',
    '`',
    ';',
    '?',
    '%',
    '(',
    '*',
    '#',
    '[',
    '~',
  ];
  test.each(signs)('text with %j is written in hexadecimal digits, and so are bytes', (sign) => {
    const text = `a${sign}b`;
    const digits = Buffer.from(text).toString('hex');
    expect(written('?', text)).toBe(`_utf8mb4 x'${digits}'`);
    expect(written('?', Buffer.from(`-${text}-`).subarray(1, -1))).toBe(`x'${digits}'`);
  });

  test('below zero a number is in parentheses: two minus signs in a row may begin a comment', () => {
    expect(written('1 -?', -5)).toBe('1 -(-5)');
  });

  test('moments are written in the time zone of the driver', () => {
    const moment = new Date('2024-05-01T20:30:00.001Z');
    expect(withLiterals({ text: '?', values: [moment] }, '+09:30')).toBe(
      "TIMESTAMP'2024-05-02 06:00:00.001'",
    );
    expect(withLiterals({ text: '?', values: [moment] }, '-01:00')).toBe(
      "TIMESTAMP'2024-05-01 19:30:00.001'",
    );
  });

  const gone = Buffer.alloc(8);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });

  test.each([
    { of: 'bytes that are gone', text: '?', values: [gone] },
    { of: 'too few values', text: '?, ?', values: [1] },
    { of: 'too many values', text: '?', values: [1, 2] },
    { of: 'a number that is none', text: '?', values: [Number.NaN] },
    { of: 'a moment that is none', text: '?', values: [new Date(Number.NaN)] },
  ])('$of: nothing is sent', ({ text, values }) => {
    expect(() => written(text, ...values)).toThrow(
      expect.objectContaining({ code: 'REJECTED', effect: 'none' }),
    );
  });
});
