import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { type Columns, MisuseError, readThenWrite, type SqlPort, type SqlStatement } from '../src/index.ts';
import { openStore, type Store } from './stores.ts';

/** In so many halls that PostgreSQL's statement has another form; none of them is there. */
const ELSEWHERE: [hall: string, seat: number][] = [
  ['D', 1],
  ['E', 1],
  ['F', 2],
  ['G', 3],
];

let store: Store;
let sql: SqlPort;

const run = async (statement: SqlStatement) => (await sql.execute(statement)).rows.map((row) => ({ ...row }));
const seats = (...pairs: [hall: string, seat: number][]): Columns[] =>
  pairs.map(([hall, seat]) => ({ hall, seat }));
const guests = async () =>
  (await store.query('SELECT hall, seat, guest FROM seat ORDER BY hall, seat')).rows.map(
    ({ hall, seat, guest }) => `${hall}${seat} ${guest}`,
  );

describe.each(['postgres', 'mariadb'] as const)('statements about many rows on %s', (on) => {
  beforeAll(async () => {
    store = await openStore(on);
    sql = store.open({ over: 'together' });
    const blob = on === 'postgres' ? 'bytea' : 'varbinary(20)';
    const moment = on === 'postgres' ? 'timestamptz' : 'datetime(3)';
    await store.query(
      `CREATE TABLE seat (hall varchar(20) NOT NULL, seat bigint NOT NULL, guest varchar(20), mark ${blob},
         price double precision, paid_at ${moment}, PRIMARY KEY (hall, seat))`,
    );
  });
  beforeEach(async () => {
    await store.query('DELETE FROM seat');
    await store.query(
      "INSERT INTO seat (hall, seat, guest) VALUES ('A', 1, 'ann'), ('A', 2, 'ben'), ('B', 1, 'cleo'), ('B', 2, 'dan')",
    );
  });
  afterEach(() => store.endSessions());
  afterAll(() => store.close());

  test.each([[], ELSEWHERE])(
    'are about the rows that are named by all of their columns, and no others',
    async (...more) => {
      const keys = seats(['A', 2], ['B', 1], ['C', 7], ['A', 9], ...more);
      const { batch } = sql.dialect;
      const found = (rows: readonly Columns[]) => rows.map(({ guest }) => guest).sort();
      const columns = ['hall', 'guest'];
      expect(found((await run(batch.readRows({ table: 'seat', keys, columns }))) as Columns[])).toEqual([
        'ben',
        'cleo',
      ]);
      for (const wait of [true, false]) {
        const lock = batch.lockRows({ table: 'seat', keys, columns, wait });
        expect(found((await run(lock)) as Columns[])).toEqual(['ben', 'cleo']);
      }
      const set = keys.map((_, index) => ({ guest: ['eve', 'fay'][index] ?? 'nobody' }));
      for (const update of batch.updateRows({ table: 'seat', keys, set })) await sql.execute(update);
      expect(await guests()).toEqual(['A1 ann', 'A2 eve', 'B1 fay', 'B2 dan']);
    },
  );

  test('set no row twice, and none of the columns by which the rows are found', () => {
    const { batch } = sql.dialect;
    const twice = seats(['A', 1], ['A', 1]);
    const set = [{ guest: 'x' }, { guest: 'y' }];
    expect(() => batch.updateRows({ table: 'seat', keys: twice, set })).toThrow(MisuseError);
    const moved = [{ seat: 2 }];
    expect(() => batch.updateRows({ table: 'seat', keys: seats(['A', 1]), set: moved })).toThrow(MisuseError);
  });

  describe('change rows that are as they are expected, or none', () => {
    const guestsOf = (batch: SqlPort['dialect']['batch'], keys: readonly Columns[], guest: string | null) =>
      batch.changeRows({ table: 'seat', keys, expect: { guest }, set: keys.map(() => ({ price: 5 })) });
    const changed = async (statements: readonly SqlStatement[]) =>
      readThenWrite(sql, [], () => ({ writes: statements, result: () => 'changed' }));
    const prices = async () =>
      (await store.query('SELECT price FROM seat ORDER BY hall, seat')).rows.map(({ price }) => price);

    beforeEach(() => store.query("UPDATE seat SET guest = 'ann' WHERE hall = 'A'"));

    test.each([
      ['all are', seats(['A', 2], ['A', 1]), 'ann', [5, 5, null, null]],
      ['the one is', seats(['A', 2]), 'ann', [null, 5, null, null]],
      ['one is not', seats(['A', 1], ['B', 1]), 'ann', undefined],
      ['the one is not', seats(['B', 1]), 'ann', undefined],
      ['one is not there', seats(['A', 1], ['C', 1]), 'ann', undefined],
      ['one holds nothing', seats(['A', 1]), null, undefined],
    ] as const)('%s', async (_how, keys, guest, expected) => {
      const changing = changed(guestsOf(sql.dialect.batch, keys, guest));
      if (expected === undefined)
        await expect(changing).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      else expect(await changing).toBe('changed');
      expect(await prices()).toEqual(expected ?? [null, null, null, null]);
    });

    test('that hold NULL, where that is expected', async () => {
      await store.query('UPDATE seat SET guest = NULL');
      await changed(guestsOf(sql.dialect.batch, seats(['A', 1], ['B', 2]), null));
      expect(await prices()).toEqual([5, null, null, 5]);
    });

    test('are not looked for by text with half of a character: it would be compared as another', () => {
      const { batch } = sql.dialect;
      expect(() => guestsOf(batch, seats(['A', 1]), 'ann \ud800')).toThrow(
        expect.objectContaining({ code: 'REJECTED', effect: 'none' }),
      );
    });

    test('and do not wait for long for one that is another’s', async () => {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query("SELECT * FROM seat WHERE hall = 'A' AND seat = 1 FOR UPDATE");
      const began = performance.now();
      const changing = changed(guestsOf(sql.dialect.batch, seats(['A', 1], ['A', 2]), 'ann'));
      await expect(changing).rejects.toMatchObject({ effect: 'none' });
      expect(performance.now() - began).toBeLessThan(1_000);
      await holder.query('ROLLBACK');
      expect(await prices()).toEqual([null, null, null, null]);
    });

    if (on === 'postgres')
      test('and leave no limit of waiting behind', async () => {
        const one = store.open({ over: 'together', connections: 1 });
        const limit = async () =>
          (await one.execute({ text: 'SHOW lock_timeout', values: [] })).rows[0]?.lock_timeout;
        const before = await limit();
        expect(before).not.toBe('50ms');
        const change = (guest: string) =>
          readThenWrite(one, [], () => ({
            writes: [
              ...guestsOf(one.dialect.batch, seats(['A', 1]), guest),
              { text: "UPDATE seat SET price = 6 WHERE hall = 'A'", values: [] },
            ],
            result: () => 'changed',
          }));
        for (let time = 0; time < 2; time++) {
          expect(await change('ann')).toBe('changed');
          expect(await limit()).toBe(before);
          await expect(change('nobody')).rejects.toMatchObject({ code: 'REJECTED' });
          expect(await limit()).toBe(before);
        }
      });

    if (on === 'postgres')
      test('in the order of their keys, whatever order they come in', () => {
        const [change] = guestsOf(sql.dialect.batch, seats(['B', 1], ['A', 10], ['A', 9]), 'ann');
        const [sorted] = guestsOf(sql.dialect.batch, seats(['A', 9], ['A', 10], ['B', 1]), 'ann');
        expect(change?.values).toEqual(sorted?.values);
      });

    test('by an expectation, and never without one', () => {
      const keys = seats(['A', 1]);
      const change = () =>
        sql.dialect.batch.changeRows({ table: 'seat', keys, expect: {}, set: [{ price: 5 }] });
      expect(change).toThrow(MisuseError);
    });

    test('also by what they hold when they are no longer another’s', async () => {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query("UPDATE seat SET guest = 'zoe' WHERE hall = 'A' AND seat = 1");
      const changing = changed(guestsOf(sql.dialect.batch, seats(['A', 1]), 'ann'));
      const settled = expect(changing).rejects.toMatchObject({ effect: 'none' });
      if (on === 'postgres') await until(async () => (await store.waitingForLocks()) === 1);
      await holder.query('COMMIT');
      await settled;
      expect(await prices()).toEqual([null, null, null, null]);
    });
  });

  test('are told the types of columns, and store the same', async () => {
    const { batch } = sql.dialect;
    const types = {
      hall: 'text',
      seat: 'bigint',
      guest: 'text',
      mark: 'bytea',
      price: 'double precision',
      paid_at: 'timestamptz',
    } as const;
    const rows = [1n, 2, 9_007_199_254_740_993n].map((seat, index) => ({
      hall: 'T',
      seat,
      guest: index === 1 ? null : `"guest’s" \\ ${index}`,
      mark: Buffer.from([0, 255, index]),
      price: index / 3,
      paid_at: index === 2 ? null : new Date(1_700_000_000_123 + index),
    }));
    const stored = async () =>
      (
        await store.query(
          "SELECT hall, seat, guest, mark, price, paid_at FROM seat WHERE hall = 'T' ORDER BY seat",
        )
      ).rows;
    const [one] = rows as [(typeof rows)[number]];
    for (const given of [rows, [one]]) {
      await run(batch.insertRows({ table: 'seat', rows: given }));
      const untyped = await stored();
      await store.query("DELETE FROM seat WHERE hall = 'T'");
      await run(batch.insertRows({ table: 'seat', rows: given, types }));
      expect(await stored()).toEqual(untyped);
      const keys = given.map(({ seat }) => ({ hall: 'T', seat }));
      const set = given.map((_, index) => ({ guest: `typed ${index}`, price: 1.5 }));
      for (const update of batch.updateRows({ table: 'seat', keys, set, types })) await sql.execute(update);
      expect((await stored()).map(({ guest, price }) => [guest, price])).toEqual(
        given.map((_, index) => [`typed ${index}`, 1.5]),
      );
      await store.query("DELETE FROM seat WHERE hall = 'T'");
    }
  });

  test('set columns to the time of the store', async () => {
    const { batch } = sql.dialect;
    const type = on === 'postgres' ? 'timestamptz' : 'timestamp(6)';
    await store.query(`CREATE TABLE arrival (hall varchar(20), at ${type} NULL)`);
    onTestFinished(() => store.query('DROP TABLE arrival').then(() => undefined));
    for (const rows of [[{ hall: 'A' }], [{ hall: 'A' }, { hall: 'B' }]]) {
      await run(batch.insertRows({ table: 'arrival', rows, now: ['at'] }));
    }
    const moment =
      on === 'postgres'
        ? "clock_timestamp() - interval '1 minute'"
        : 'CURRENT_TIMESTAMP(6) - INTERVAL 1 MINUTE';
    const { rows } = await store.query(`SELECT hall FROM arrival WHERE at > ${moment} ORDER BY hall`);
    expect(rows.map(({ hall }) => hall)).toEqual(['A', 'A', 'B']);
  });

  test('set many rows to values of their own', async () => {
    const { batch } = sql.dialect;
    const all = Array.from({ length: 150 }, (_, index) => ['C', index + 1] as [string, number]);
    await run(batch.insertRows({ table: 'seat', rows: seats(...all) }));
    const prices = [null, 0.5, -2, 3];
    const set = all.map(([, seat]) => ({
      guest: seat % 7 === 0 ? null : `guest’s ? ${seat}`,
      price: prices[seat % 4] ?? null,
    }));
    for (const update of batch.updateRows({ table: 'seat', keys: seats(...all), set })) await run(update);
    const stored = await store.query(`SELECT seat, guest, price FROM seat WHERE hall = 'C' ORDER BY seat`);
    expect(stored.rows.map(({ guest, price }) => ({ guest, price }))).toEqual(set);
  });

  test('insert all of the rows or none, with values of every type', async () => {
    const { batch } = sql.dialect;
    const big = 2n ** 62n;
    const rows: Columns[] = [
      { hall: "'\\ ✓", seat: big, guest: null, mark: new Uint8Array([0, 92, 255]), price: -1e-9 },
      { hall: '', seat: -1, guest: '', mark: new Uint8Array(), price: 0 },
    ];
    expect(await run(batch.insertRows({ table: 'seat', rows }))).toEqual([]);
    const stored = await store.query(
      "SELECT hall, seat, guest, mark, price FROM seat WHERE hall NOT IN ('A', 'B') ORDER BY hall DESC",
    );
    expect(
      stored.rows.map((row) => ({ ...row, seat: String(row.seat), mark: [...(row.mark as Buffer)] })),
    ).toEqual([
      { hall: "'\\ ✓", seat: String(big), guest: null, mark: [0, 92, 255], price: -1e-9 },
      { hall: '', seat: '-1', guest: '', mark: [], price: 0 },
    ]);
    await sql.execute(batch.insertRows({ table: 'seat', rows: seats(['D', 1]) }));
    const again = batch.insertRows({ table: 'seat', rows: [...seats(['C', 1], ['A', 1])] });
    await expect(sql.execute(again)).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
    expect((await guests()).filter((seat) => /^[CD]/.test(seat))).toEqual(['D1 null']);
    const alone = batch.updateRows({ table: 'seat', keys: seats(['D', 1]), set: [{ guest: 'gil' }] });
    for (const update of alone) await sql.execute(update);
    expect(await guests()).toContain('D1 gil');
  });

  test('store the same whether a row comes alone or with others', async () => {
    const { batch } = sql.dialect;
    const moment = on === 'postgres' ? 'timestamp' : 'datetime(3)';
    const [zoned, tree] = on === 'postgres' ? ['timestamptz', 'jsonb'] : ['datetime(3)', 'text'];
    await store.query(
      `CREATE TABLE kind (id int PRIMARY KEY, m ${moment}, z ${zoned}, d date, j ${tree}, f real)`,
    );
    onTestFinished(async () => void (await store.query('DROP TABLE kind')));
    const at = new Date('2024-05-01T20:00:00.123Z');
    const row = (id: number): Columns => ({ id, m: at, z: at, d: at, j: '{"a":1}', f: -1.5 });
    await sql.execute(batch.insertRows({ table: 'kind', rows: [row(1)] }));
    await sql.execute(batch.insertRows({ table: 'kind', rows: [row(2), row(3)] }));
    const { id: _, ...set } = row(0);
    await store.query('INSERT INTO kind (id) VALUES (4), (5), (6)');
    for (const ids of [[4], [5, 6]]) {
      const keys = ids.map((id) => ({ id }));
      for (const update of batch.updateRows({ table: 'kind', keys, set: keys.map(() => set) }))
        await sql.execute(update);
    }
    const stored = await store.query('SELECT DISTINCT m, z, d, j, f FROM kind');
    expect(stored.rows).toHaveLength(1);
    // As the driver stores it, when it is a parameter.
    const alone = await store.query('SELECT id FROM kind WHERE m = ? AND z = ?', at, at);
    expect(alone.rows).toHaveLength(6);
    const unfit = { ...row(7), m: new Date(Number.NaN) };
    for (const rows of [[unfit], [unfit, row(8)]]) {
      const never = readThenWrite(sql, [store.statement('SELECT 1')], () => ({
        writes: [batch.insertRows({ table: 'kind', rows })],
        result: () => 'stored',
      }));
      await expect(never).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
    }
  });

  test.runIf(on === 'postgres')(
    'a UUID is stored alone and with others, and what is none never is',
    async () => {
      await store.query('CREATE TABLE pass (id bigint PRIMARY KEY, code uuid)');
      const { batch } = sql.dialect;
      let id = 0;
      const insert = (codes: readonly string[]) => {
        const rows = codes.map((code) => ({ id: ++id, code }));
        return readThenWrite(sql, [], () => ({
          writes: [batch.insertRows({ table: 'pass', rows, types: { id: 'bigint', code: 'uuid' } })],
          result: () => 'stored',
        }));
      };
      const codes = ['00112233-4455-6677-8899-aabbccddeeff', 'FEDCBA98-7654-3210-0F1E-2D3C4B5A6978'];
      await insert(codes);
      for (const code of codes) await insert([code]);
      const { rows } = await store.query('SELECT code FROM pass ORDER BY id');
      expect(rows.map(({ code }) => code)).toEqual([...codes, ...codes].map((code) => code.toLowerCase()));

      const unfit = [
        ...['', '0011', '00112233-4455-6677-8899-aabbccddeef', '00112233-4455-6677-8899-aabbccddeeff0'],
        ...['00112233-4455-6677-8899-aabbccddeefg', '00112233-4455-6677-8899-aabbccddeefé'],
        ...['0011-2233-4455-6677-8899aabbccddeeff', '00112233445566778899aabbccddeeff----'],
        ...['0-112233-4455-6677-8899-aabbccddeeff', '{0112233-4455-6677-8899-aabbccddeef}'],
      ];
      for (const code of unfit) {
        for (const codes of [[code], [code, '00112233-4455-6677-8899-aabbccddeeff']]) {
          await expect(insert(codes), code).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
        }
      }
    },
  );

  test.runIf(on === 'postgres')('moments of every year are stored as the driver stores them', async () => {
    await store.query('CREATE TABLE era (id int PRIMARY KEY, z timestamptz, t timestamp)');
    const { batch } = sql.dialect;
    const moments = ['9999-12-31T23:59:59.999Z', '+012345-06-07T08:09:10.111Z', '0000-02-03T04:05:06.000Z']
      .concat('-000043-03-15T12:00:00.000Z', '0033-04-03T15:00:00.000Z')
      .map((text) => new Date(text));
    const rows = moments.map((at, id) => ({ id, z: at, t: at }));
    await sql.execute(batch.insertRows({ table: 'era', rows }));
    const types = { id: 'integer', z: 'timestamptz' } as const;
    const typed = (rows: readonly Columns[]) => run(batch.insertRows({ table: 'era', rows, types }));
    await typed(moments.map((at, index) => ({ id: 100 + index, z: at })));
    const same = 'SELECT 1 FROM era AS a JOIN era AS b ON b.id = a.id + 100 AND b.z = a.z';
    expect((await store.query(same)).rows).toHaveLength(moments.length);
    const [fit] = moments as [Date];
    for (const unfit of [new Date(Number.NaN), '2026-01-01', 1_700_000_000_000]) {
      const row = { id: 200, z: unfit };
      for (const rows of [[row], [row, { id: 201, z: fit }]]) {
        const refused = readThenWrite(sql, [], () => ({
          writes: [batch.insertRows({ table: 'era', rows, types })],
          result: () => undefined,
        }));
        await expect(refused, String(unfit)).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      }
    }
    for (const at of moments) {
      const { rows } = await store.query('SELECT id FROM era WHERE z = ? AND t = ?', at, at);
      expect(rows, at.toISOString()).toHaveLength(1);
    }
  });

  test('read the store’s clock', async () => {
    const { batch } = sql.dialect;
    const read = batch.readRows({ table: 'seat', keys: seats(['A', 1]), columns: ['seat'], nowAs: 'now_ms' });
    const before = Date.now();
    const [row] = await run(read);
    // Both are of this machine; the reading is of a millisecond's fraction.
    expect(Number(row?.now_ms)).toBeGreaterThan(before - 5);
    expect(Number(row?.now_ms)).toBeLessThan(Date.now() + 5);
  });

  test.each([[], ELSEWHERE])(
    'lock in the order of the keys, whatever the order in which they are given',
    async (...more) => {
      const { batch } = sql.dialect;
      const one = await store.connect();
      await one.begin('READ COMMITTED');
      await one.query("SELECT 1 FROM seat WHERE hall = 'A' AND seat = 2 FOR UPDATE");
      const keys = seats(['B', 1], ['A', 2], ['A', 1], ...more);
      const waiting = run(batch.lockRows({ table: 'seat', keys, columns: ['seat'], wait: true }));
      await until(async () => (await store.waitingForLocks()) === 1);
      // What comes after the one that it waits for is free yet, and what comes before is not.
      const other = await store.connect();
      await other.begin('READ COMMITTED');
      const free = await other.query('SELECT hall, seat FROM seat FOR UPDATE SKIP LOCKED');
      expect(free.rows.map(({ hall, seat }) => `${hall}${seat}`).sort()).toEqual(['B1', 'B2']);
      await other.query('COMMIT');
      await one.query('COMMIT');
      expect(await waiting).toHaveLength(3);
    },
  );

  test.each([[], ELSEWHERE])(
    'pass over rows that somebody else has, unless they are to be waited for',
    async (...more) => {
      const { batch } = sql.dialect;
      const one = await store.connect();
      await one.begin('READ COMMITTED');
      await one.query("UPDATE seat SET guest = 'eve' WHERE hall = 'A' AND seat = 1");
      const keys = seats(['A', 1], ['A', 2], ...more);
      const lock = (wait: boolean) => batch.lockRows({ table: 'seat', keys, columns: ['guest'], wait });
      expect(await run(lock(false))).toEqual([{ guest: 'ben' }]);
      const waiting = run(lock(true));
      await until(async () => (await store.waitingForLocks()) === 1);
      await one.query('COMMIT');
      expect(await waiting).toEqual([{ guest: 'eve' }, { guest: 'ben' }]);
    },
  );

  test('are refused where the rows have different columns, or there is none', () => {
    const { batch } = sql.dialect;
    const misuse = expect.objectContaining({ code: 'MISUSE' });
    const rows = [{ hall: 'A', seat: 1 }, { hall: 'A' }];
    expect(() => batch.insertRows({ table: 'seat', rows })).toThrow(misuse);
    expect(() => batch.insertRows({ table: 'seat', rows: [] })).toThrow(misuse);
    expect(() => batch.lockRows({ table: 'seat', keys: [], columns: ['seat'], wait: true })).toThrow(misuse);
  });
});
