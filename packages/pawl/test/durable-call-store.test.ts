import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { startProxy } from '../../../test/proxy.ts';
import {
  type DurableCallChange,
  type DurableCallStore,
  done,
  type IdempotencyRecordId,
  type Json,
  type NewDurableCall,
  pawlTables,
  refused,
  type SqlPort,
  type SqlTransaction,
  StoreError,
  sqlDurableCallStore,
} from '../src/index.ts';
import { migrate } from '../src/migrate.ts';
import { openStore, type PortOptions, SESSION_ID, type Store } from './stores.ts';

type Calls = DurableCallStore<SqlTransaction>;

const TABLE = pawlTables().durableCall;
/** The same columns, and no key but the primary one. */
const ONE_KEY = `${TABLE}_with_one_key`;
const NAME = 'charge';
const HOUR_MS = 3_600_000;
const ANSWER = { status: 201, headers: { 'x-bill': 'Ünï' }, body: Buffer.from([0, 255, 34]) };
const DONE = { state: 'done', answer: ANSWER, retentionMs: HOUR_MS } satisfies DurableCallChange;

let database: Store;
let sql: SqlPort;
let calls: Calls;
let numbers = 0;

/** A call of a request and a subject that nobody else has. */
function newCall(given: Partial<NewDurableCall> = {}): NewDurableCall {
  const number = ++numbers;
  return {
    id: { scope: '["member-1","tickets"]', key: `key-${number}` },
    fingerprint: 'ab'.repeat(32),
    name: NAME,
    subject: `order-${number}`,
    attempt: 1,
    state: 'calling',
    request: { amountMinor: 1_000 },
    leaseMs: HOUR_MS,
    ...given,
  };
}

/** As what a hook claims without rows of its own. */
const claiming = (call: NewDurableCall) => async () => done(call);
const changing = (change: DurableCallChange) => async () => done(change);

async function claimed(given: Partial<NewDurableCall> = {}): Promise<NewDurableCall> {
  const call = newCall(given);
  expect(await calls.claim(claiming(call))).toMatchObject({ outcome: 'done' });
  return call;
}

async function settled(change: DurableCallChange = DONE): Promise<NewDurableCall> {
  const call = await claimed();
  expect(await calls.settle(call.id, 1, changing(change))).toEqual(done(undefined));
  return call;
}

/** Writes a row of the caller's, as a hook does. */
const insertBill = (transaction: SqlTransaction, { key }: IdempotencyRecordId) =>
  transaction.execute(database.statement('INSERT INTO bill VALUES (?)', key));

async function bills({ key }: IdempotencyRecordId): Promise<number> {
  return (await database.query('SELECT 1 AS one FROM bill WHERE bill_key = ?', key)).rows.length;
}

const isThere = async ({ id }: NewDurableCall) => (await calls.find(id)) !== undefined;

/** Lets a moment be past, as if the time had come: by `agoMs`, in milliseconds. */
async function makePast(
  column: 'lease_until' | 'final_after' | 'expires_at' | 'created_at',
  id: IdempotencyRecordId,
  agoMs = 1_000,
): Promise<void> {
  const moment = {
    postgres: `clock_timestamp() - interval '${agoMs} milliseconds'`,
    mysql: `UTC_TIMESTAMP(6) - INTERVAL ${agoMs * 1_000} MICROSECOND`,
  };
  const where = 'WHERE idempotency_key = ?';
  await database.query(`UPDATE ${TABLE} SET ${column} = ${moment[database.kind]} ${where}`, id.key);
}

/** A store over a pool of its own, as another instance has one. */
const openCalls = (options?: PortOptions): Calls => sqlDurableCallStore(database.open(options));

/** A store whose statements are counted: those outside transactions, and those inside. */
function counted() {
  const statements = { alone: 0, within: 0 };
  const port: SqlPort = {
    ...sql,
    execute: (statement) => {
      statements.alone++;
      return sql.execute(statement);
    },
    transaction: (work) =>
      sql.transaction((transaction) =>
        work({
          ...transaction,
          execute: (statement) => {
            statements.within++;
            return transaction.execute(statement);
          },
        }),
      ),
  };
  return { calls: sqlDurableCallStore(port), statements };
}

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  beforeAll(async () => {
    database = await openStore(name);
    sql = database.open({ connections: 8 });
    await migrate(sql);
    calls = sqlDurableCallStore(sql);
    await database.query('CREATE TABLE bill (bill_key varchar(50) PRIMARY KEY)');
    await database.query(`CREATE TABLE ${ONE_KEY} AS SELECT * FROM ${TABLE} WHERE false`);
    await database.query(`ALTER TABLE ${ONE_KEY} ADD PRIMARY KEY (scope, idempotency_key)`);
  });

  afterAll(() => database.close());

  describe('claim', () => {
    test('gives back what it has recorded, and so does find', async () => {
      const call = newCall({ finalAfterMs: 2 * HOUR_MS });
      const given = await calls.claim(claiming(call));
      const { leaseMs: _, finalAfterMs: __, ...told } = call;
      const expected = {
        ...told,
        fence: 1,
        leaseLeftMs: HOUR_MS,
        isFinal: false,
        value: undefined,
        compensationTry: 0,
        code: undefined,
        verdict: undefined,
        answer: undefined,
        ageMs: 0,
      };
      expect(given).toEqual(done(expected));
      const found = await calls.find(call.id);
      expect(found).toEqual({ ...expected, leaseLeftMs: expect.any(Number), ageMs: expect.any(Number) });
      expect(found?.leaseLeftMs).toBeLessThanOrEqual(HOUR_MS);
      expect(found?.leaseLeftMs).toBeGreaterThan(HOUR_MS / 2);
      expect(found?.ageMs).toBeGreaterThanOrEqual(0);
      expect(await calls.find({ ...call.id, scope: 'another' })).toBeUndefined();
    });

    test.each<Json>([null, '한글 🎟 "quoted" \\ \n\u0000 \ud800', [0, -1.5, true, { äöü: [] }], { '': {} }])(
      'keeps %j as it was given',
      async (json) => {
        const code = `CODE ${JSON.stringify(json)} \u0000`;
        const call = newCall({ state: 'compensating', request: json, value: json, code });
        const given = await calls.claim(claiming(call));
        expect(given).toMatchObject(done({ request: json, value: json, code, compensationTry: 1 }));
        expect(await calls.find(call.id)).toMatchObject({
          request: json,
          value: json,
          code,
          compensationTry: 1,
        });
      },
    );

    test('a code that is plain is stored as it is', async () => {
      const { id } = await claimed({ state: 'stuck', code: 'ALREADY_PROCESSED_PAYMENT' });
      const text = `SELECT code FROM ${TABLE} WHERE idempotency_key = ?`;
      expect((await database.query(text, id.key)).rows).toEqual([{ code: 'ALREADY_PROCESSED_PAYMENT' }]);
    });

    test('commits the rows of the caller with the record', async () => {
      const call = newCall();
      await calls.claim(async (transaction) => {
        await insertBill(transaction, call.id);
        expect(await bills(call.id)).toBe(0);
        return done(call);
      });
      expect([await isThere(call), await bills(call.id)]).toEqual([true, 1]);
    });

    test('leaves nothing of a refusal', async () => {
      const call = newCall();
      const refusal = await calls.claim(async (transaction) => {
        await insertBill(transaction, call.id);
        return { ...refused('wrong-state'), status: 'COMPLETE' };
      });
      expect(refusal).toEqual({ outcome: 'refused', reason: 'wrong-state', status: 'COMPLETE' });
      expect([await isThere(call), await bills(call.id)]).toEqual([false, 0]);
    });

    test('leaves nothing of what throws', async () => {
      const call = newCall();
      const failed = calls.claim(async (transaction): Promise<never> => {
        await insertBill(transaction, call.id);
        throw new Error('crash');
      });
      await expect(failed).rejects.toThrow('crash');
      expect([await isThere(call), await bills(call.id)]).toEqual([false, 0]);
    });

    test('a request that is there is refused, and the rows with it', async () => {
      const { id } = await claimed();
      const again = newCall({ id });
      const second = await calls.claim(async (transaction) => {
        await insertBill(transaction, id);
        return done(again);
      });
      expect(second).toEqual(refused('already-done'));
      expect(await bills(id)).toBe(0);
      expect((await calls.find(id))?.subject).not.toBe(again.subject);
    });

    test('an attempt that is there is refused, the next one is not', async () => {
      const { subject } = await claimed();
      const [second, next] = [newCall({ subject }), newCall({ subject, attempt: 2 })];
      const taken = await calls.claim(async (transaction) => {
        await insertBill(transaction, second.id);
        return done(second);
      });
      expect(taken).toEqual(refused('already-done'));
      expect([await isThere(second), await bills(second.id)]).toEqual([false, 0]);
      expect(await calls.claim(claiming(next))).toMatchObject({ outcome: 'done' });
      // What has another name is another's.
      await claimed({ subject, name: 'refund' });
    });

    test('a settled record that may be forgotten is there until it is', async () => {
      const call = await settled();
      await makePast('expires_at', call.id);
      expect(await calls.claim(claiming(newCall({ id: call.id })))).toEqual(refused('already-done'));
      expect(await isThere(call)).toBe(true);
    });

    test('what the caller’s own rows refuse is the caller’s error', async () => {
      const { id } = await settled();
      await database.query('INSERT INTO bill VALUES (?)', id.key);
      const call = newCall();
      const twice = calls.claim(async (transaction) => {
        await insertBill(transaction, id);
        return done(call);
      });
      await expect(twice).rejects.toMatchObject({ code: 'DUPLICATE_KEY' });
      expect(await isThere(call)).toBe(false);
    });

    test('keys and subjects are told apart byte by byte', async () => {
      const texts = ['abc', 'Abc', 'äbc', 'abc ', '\u00e9', 'e\u0301', '1', '01'];
      for (const text of texts) {
        await claimed({ id: { scope: 'bytes', key: text }, subject: `bytes ${text}` });
        await claimed({ id: { scope: text, key: 'bytes' } });
      }
      for (const text of texts) {
        const found = await calls.find({ scope: 'bytes', key: text });
        expect(found).toMatchObject({ id: { scope: 'bytes', key: text }, subject: `bytes ${text}` });
      }
    });

    test('takes the longest of everything', async () => {
      const long = (length: number) =>
        String.fromCodePoint(...Array.from({ length }, (_, index) => 0x1_f300 + index * 7));
      const call = await claimed({
        id: { scope: long(255), key: long(255) },
        name: long(64),
        subject: long(255),
      });
      const { id, name, subject } = call;
      expect(await calls.find(id)).toMatchObject({ id, name, subject });
    });
  });

  describe('of many at once', () => {
    const RACERS = 20;
    const wins = (outcomes: readonly { readonly outcome: string }[]) =>
      outcomes.filter(({ outcome }) => outcome === 'done').length;

    /** Claims by so many requests, from two instances, each of which has written its row when the others begin to. */
    async function race(rivals: readonly NewDurableCall[], table = TABLE) {
      const stores = [1, 2].map(() =>
        sqlDurableCallStore(database.open({ connections: RACERS / 2 }), { table }),
      );
      const ready = barrier(RACERS);
      return Promise.all(
        rivals.map((call, index) =>
          (stores[index % 2] as Calls).claim(async (transaction) => {
            await transaction.execute(
              database.statement('INSERT INTO bill VALUES (?)', `${call.id.key} ${index}`),
            );
            await ready();
            return done(call);
          }),
        ),
      );
    }

    const billsOf = async (rivals: readonly NewDurableCall[]) => {
      const keys = rivals.map(({ id }, index) => `${id.key} ${index}`);
      const { rows } = await database.query('SELECT bill_key FROM bill');
      return rows.filter(({ bill_key }) => keys.includes(String(bill_key))).length;
    };

    const atOneSubject = () => {
      const { subject } = newCall();
      return Array.from({ length: RACERS }, () => newCall({ subject }));
    };

    test('without the key of the attempt, all claim the same one', async () => {
      const rivals = atOneSubject();
      expect(wins(await race(rivals, ONE_KEY))).toBe(RACERS);
      expect(await billsOf(rivals)).toBe(RACERS);
    });

    test('with it, one claims an attempt, and the others leave nothing', async () => {
      const rivals = atOneSubject();
      const outcomes = await race(rivals);
      expect(wins(outcomes)).toBe(1);
      expect(outcomes.filter(({ outcome }) => outcome !== 'done')).toEqual(
        Array(RACERS - 1).fill(refused('already-done')),
      );
      expect(await billsOf(rivals)).toBe(1);
    });

    test('one claims a request, and the others leave nothing', async () => {
      const { id } = newCall();
      const rivals = Array.from({ length: RACERS }, () => newCall({ id }));
      expect(wins(await race(rivals))).toBe(1);
      expect(await billsOf(rivals)).toBe(1);
    });

    test('one settles a call, and the others are fenced off', async () => {
      const { id } = await claimed();
      const ready = barrier(RACERS);
      const others = openCalls({ connections: RACERS });
      const outcomes = await together(RACERS, (index) =>
        others.settle(id, 1, async (transaction) => {
          await transaction.execute(database.statement('INSERT INTO bill VALUES (?)', `${id.key} ${index}`));
          await ready();
          return done(DONE);
        }),
      );
      expect(wins(outcomes)).toBe(1);
      expect(outcomes.filter(({ outcome }) => outcome !== 'done')).toEqual(
        Array(RACERS - 1).fill(refused('fenced')),
      );
      const { rows } = await database.query('SELECT 1 AS one FROM bill WHERE bill_key LIKE ?', `${id.key} %`);
      expect(rows).toHaveLength(1);
    });

    test('two at once take each call over once', async () => {
      const own = `takeover ${++numbers}`;
      const all = await together(40, () => claimed({ name: own, leaseMs: 0 }));
      const instances = [openCalls(), openCalls(), openCalls(), openCalls()];
      const ready = barrier(instances.length);
      const taken = await Promise.all(
        instances.map(async (instance) => {
          await ready();
          const first = await instance.takeOver(own, 30, HOUR_MS);
          const second = await instance.takeOver(own, 30, HOUR_MS);
          return [...first, ...second];
        }),
      );
      const keys = taken.flat().map(({ id }) => id.key);
      expect(keys.sort()).toEqual(all.map(({ id }) => id.key).sort());
      expect(new Set(taken.flat().map(({ fence }) => fence))).toEqual(new Set([2]));
    });

    test('one reopens an attempt', async () => {
      const { subject, id } = await settled();
      const attempt = { name: NAME, subject, attempt: 1 };
      const outcomes = await together(4, () =>
        calls.reopen(attempt, async () => done({ value: 1, leaseMs: HOUR_MS })),
      );
      expect(wins(outcomes)).toBe(1);
      expect(await calls.find(id)).toMatchObject({ fence: 2 });
    });
  });

  describe('settle', () => {
    test('commits the answer with the rows of the caller', async () => {
      const { id } = await claimed();
      const outcome = await calls.settle(id, 1, async (transaction) => {
        await insertBill(transaction, id);
        return done({ ...DONE, code: 'PAID' });
      });
      expect(outcome).toEqual(done(undefined));
      expect(await bills(id)).toBe(1);
      const found = await calls.find(id);
      expect(found).toMatchObject({ state: 'done', answer: ANSWER, code: 'PAID', leaseLeftMs: undefined });
    });

    test('leaves nothing of a refusal', async () => {
      const { id } = await claimed();
      const outcome = await calls.settle(id, 1, async (transaction) => {
        await insertBill(transaction, id);
        return refused('not-open');
      });
      expect(outcome).toEqual(refused('not-open'));
      expect(await bills(id)).toBe(0);
      expect(await calls.find(id)).toMatchObject({ state: 'calling', answer: undefined });
    });

    test('whoever had it before a takeover writes nothing, and whoever has it now does', async () => {
      const own = `fence ${++numbers}`;
      const { id } = await claimed({ name: own, leaseMs: 0 });
      const [taken] = await calls.takeOver(own, 1, HOUR_MS);
      expect(taken?.fence).toBe(2);
      const settle = (fence: number, state: 'done' | 'released') =>
        calls.settle(id, fence, async (transaction) => {
          await insertBill(transaction, id);
          return done({ ...DONE, state });
        });
      expect(await settle(1, 'released')).toEqual(refused('fenced'));
      expect(await settle(3, 'released')).toEqual(refused('fenced'));
      expect([await bills(id), (await calls.find(id))?.state]).toEqual([0, 'unknown']);
      expect(await settle(2, 'done')).toEqual(done(undefined));
      expect([await bills(id), (await calls.find(id))?.state]).toEqual([1, 'done']);
    });

    test('what is settled stays as it is, by the same fence too', async () => {
      const { id } = await settled();
      const before = await calls.find(id);
      expect(await calls.settle(id, 1, changing({ ...DONE, state: 'released' }))).toEqual(refused('fenced'));
      expect(await calls.change(id, 1, { state: 'unknown', leaseMs: 0 })).toBe(false);
      expect(await calls.forget(id, 1, async () => undefined)).toEqual(refused('fenced'));
      expect(await calls.find(id)).toEqual({ ...before, ageMs: expect.any(Number) });
    });

    test('the answer that is stored stays where none is given', async () => {
      const { id, subject } = await settled();
      await calls.reopen({ name: NAME, subject, attempt: 1 }, async () =>
        done({ value: 1, leaseMs: HOUR_MS }),
      );
      expect(await calls.find(id)).toMatchObject({ state: 'compensating', answer: ANSWER });
      await calls.settle(id, 2, changing({ state: 'compensated', retentionMs: HOUR_MS }));
      expect(await calls.find(id)).toMatchObject({ state: 'compensated', answer: ANSWER });
    });

    test('one that nobody knows is fenced', async () => {
      const { id } = newCall();
      expect(await calls.settle(id, 1, changing(DONE))).toEqual(refused('fenced'));
    });
  });

  describe('change', () => {
    test('by its fence, and by no other', async () => {
      const { id } = await claimed();
      const change = { state: 'looking', leaseMs: 0, code: 'REJECT_CARD' } as const;
      expect(await calls.change(id, 2, change)).toBe(false);
      expect(await calls.find(id)).toMatchObject({ state: 'calling', code: undefined });
      expect(await calls.change(id, 1, change)).toBe(true);
      expect(await calls.find(id)).toMatchObject({ state: 'looking', code: 'REJECT_CARD', fence: 1 });
    });

    test('what is not given stays as it is', async () => {
      const { id } = await claimed({ state: 'compensating', value: { paid: 1 }, code: 'FIRST' });
      await calls.change(id, 1, { state: 'compensating', leaseMs: 0, compensationTry: 2 });
      expect(await calls.find(id)).toMatchObject({ value: { paid: 1 }, code: 'FIRST', compensationTry: 2 });
      await calls.change(id, 1, { state: 'stuck', leaseMs: undefined, value: null });
      expect(await calls.find(id)).toMatchObject({ value: null, compensationTry: 2, leaseLeftMs: undefined });
    });

    test('a lease ends with the moment after which nothing can come, while that is to come', async () => {
      const { id } = await claimed({ finalAfterMs: 60_000 });
      const leaseLeftMs = async () => Number((await calls.find(id))?.leaseLeftMs);
      const change = { state: 'unknown', leaseMs: HOUR_MS } as const;
      await calls.change(id, 1, change);
      expect(await leaseLeftMs()).toBeGreaterThan(60_000);
      await calls.change(id, 1, { ...change, notAfterFinal: true });
      expect(await leaseLeftMs()).toBeLessThanOrEqual(60_000);
      expect(await leaseLeftMs()).toBeGreaterThan(0);
      await makePast('final_after', id);
      await calls.change(id, 1, { ...change, notAfterFinal: true });
      expect(await leaseLeftMs()).toBeGreaterThan(60_000);
    });

    test('a lease that is shorter than that stays as short, and so does one without such a moment', async () => {
      const change = { state: 'unknown', leaseMs: 60_000, notAfterFinal: true } as const;
      for (const given of [{ finalAfterMs: HOUR_MS }, {}]) {
        const { id } = await claimed(given);
        await calls.change(id, 1, change);
        const { leaseLeftMs } = (await calls.find(id)) ?? {};
        expect(leaseLeftMs).toBeLessThanOrEqual(60_000);
        expect(leaseLeftMs).toBeGreaterThan(0);
      }
    });

    test('a verdict ends where a compensation begins: it was about the effect', async () => {
      const { id } = await claimed();
      await database.query(`UPDATE ${TABLE} SET verdict = 'done' WHERE idempotency_key = ?`, id.key);
      await calls.change(id, 1, { state: 'unknown', leaseMs: 0 });
      expect((await calls.find(id))?.verdict).toBe('done');
      await calls.change(id, 1, { state: 'compensating', leaseMs: HOUR_MS, value: 1, compensationTry: 1 });
      expect((await calls.find(id))?.verdict).toBeUndefined();
    });
  });

  describe('takeOver', () => {
    const keysOf = (found: readonly { readonly id: IdempotencyRecordId }[]) => found.map(({ id }) => id.key);

    test('those whose lease is over, of this name, and the earliest of them first', async () => {
      const own = `order ${++numbers}`;
      const first = await claimed({ name: own });
      const second = await claimed({ name: own });
      const third = await claimed({ name: own });
      const fourth = await claimed({ name: own });
      await claimed({ name: own });
      await claimed({ name: `${own} `, leaseMs: 0 });
      await makePast('lease_until', second.id, 2_000);
      await makePast('lease_until', first.id, 3_000);
      await makePast('lease_until', fourth.id, 500);
      await makePast('lease_until', third.id, 1_000);
      expect(keysOf(await calls.takeOver(own, 2, HOUR_MS))).toEqual(keysOf([first, second]));
      expect(keysOf(await calls.takeOver(own, 10, HOUR_MS))).toEqual(keysOf([third, fourth]));
      expect(await calls.takeOver(own, 10, HOUR_MS)).toEqual([]);
    });

    test('gives what the record says from then on', async () => {
      const own = `given ${++numbers}`;
      const call = await claimed({ name: own, leaseMs: 0, request: ['ü'], code: 'X', finalAfterMs: HOUR_MS });
      const [taken] = await calls.takeOver(own, 1, HOUR_MS);
      expect(taken).toMatchObject({
        id: call.id,
        subject: call.subject,
        attempt: 1,
        fingerprint: call.fingerprint,
        fence: 2,
        state: 'unknown',
        request: ['ü'],
        code: 'X',
        isFinal: false,
      });
      expect(taken?.leaseLeftMs).toBeGreaterThan(HOUR_MS / 2);
      const found = await calls.find(call.id);
      expect(found).toEqual({ ...taken, leaseLeftMs: expect.any(Number), ageMs: expect.any(Number) });
    });

    test.each(['unknown', 'looking', 'compensating'] as const)('what was %s stays so', async (state) => {
      const own = `${state} ${++numbers}`;
      const { id } = await claimed({ name: own });
      await calls.change(id, 1, { state, leaseMs: 0, value: 7, compensationTry: 3 });
      expect(await calls.takeOver(own, 1, HOUR_MS)).toMatchObject([{ state, value: 7, compensationTry: 3 }]);
    });

    test('not what is settled, nor what is left to an operator', async () => {
      const own = `over ${++numbers}`;
      const { leaseMs: _, ...stuck } = newCall({ name: own, state: 'stuck' });
      await calls.claim(claiming(stuck));
      for (const state of ['done', 'released', 'compensated'] as const) {
        const { id } = await claimed({ name: own, leaseMs: 0 });
        await calls.settle(id, 1, changing({ state, retentionMs: 0 }));
      }
      const left = await claimed({ name: own, leaseMs: 0 });
      await calls.change(left.id, 1, { state: 'stuck', leaseMs: undefined });
      expect(await calls.takeOver(own, 10, HOUR_MS)).toEqual([]);
    });

    test('without SKIP LOCKED it would wait for one that somebody is at; it passes over it', async () => {
      const own = `held ${++numbers}`;
      const [held, free] = [
        await claimed({ name: own, leaseMs: 0 }),
        await claimed({ name: own, leaseMs: 0 }),
      ];
      await makePast('lease_until', held.id, 5_000);
      const holder = await database.connect();
      await holder.begin('READ COMMITTED');
      await holder.query(`UPDATE ${TABLE} SET code = 'HELD' WHERE idempotency_key = ?`, held.id.key);
      expect(keysOf(await calls.takeOver(own, 2, HOUR_MS))).toEqual(keysOf([free]));
      const text = `UPDATE ${TABLE} SET lease_until = NULL WHERE idempotency_key = ?`;
      const waits = database.connect().then((session) => session.query(text, held.id.key));
      await until(async () => (await database.waitingForLocks()) === 1);
      await holder.query('ROLLBACK');
      await waits;
      await database.endSessions();
    });

    test('that its effect can no longer come about is said by the clock of the store', async () => {
      const own = `final ${++numbers}`;
      const { id } = await claimed({ name: own, leaseMs: 0, finalAfterMs: HOUR_MS });
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 365 * 24 * HOUR_MS });
      onTestFinished(() => void vi.useRealTimers());
      expect(await calls.takeOver(own, 1, 0)).toMatchObject([{ isFinal: false }]);
      await makePast('final_after', id, 1);
      expect(await calls.takeOver(own, 1, 0)).toMatchObject([{ isFinal: true, fence: 3 }]);
      expect(await calls.find(id)).toMatchObject({ isFinal: true });
    });

    test('what never becomes final never is, and what was final before it began is at once', async () => {
      const own = `never final ${++numbers}`;
      const never = await claimed({ name: own, leaseMs: 0 });
      const past = await claimed({ name: own, leaseMs: 0, finalAfterMs: -1_000 });
      expect(await calls.find(never.id)).toMatchObject({ isFinal: false });
      expect(await calls.find(past.id)).toMatchObject({ isFinal: true });
    });
  });

  describe('reopen', () => {
    const reopened = (call: NewDurableCall) =>
      calls.reopen({ name: NAME, subject: call.subject, attempt: 1 }, async (transaction) => {
        await insertBill(transaction, call.id);
        return done({ value: { bill: 1 }, leaseMs: HOUR_MS });
      });

    test('what is done is compensated, by the next fence, and is not forgotten', async () => {
      const call = await settled({ ...DONE, retentionMs: 0 });
      const outcome = await reopened(call);
      const expected = {
        id: call.id,
        state: 'compensating',
        fence: 2,
        value: { bill: 1 },
        compensationTry: 1,
        answer: ANSWER,
      };
      expect(outcome).toMatchObject(done(expected));
      expect(await bills(call.id)).toBe(1);
      await calls.sweep(1_000);
      expect(await calls.find(call.id)).toMatchObject(expected);
      expect((await calls.find(call.id))?.leaseLeftMs).toBeGreaterThan(0);
    });

    test.each(['calling', 'released'] as const)('not what is %s: nothing is left', async (state) => {
      const call = state === 'calling' ? await claimed() : await settled({ ...DONE, state });
      expect(await reopened(call)).toEqual(refused('wrong-state'));
      expect(await reopened(newCall())).toEqual(refused('wrong-state'));
      expect(await bills(call.id)).toBe(0);
      expect(await calls.find(call.id)).toMatchObject({ state, fence: 1 });
    });

    test('leaves nothing of a refusal', async () => {
      const { id, subject } = await settled();
      const outcome = await calls.reopen({ name: NAME, subject, attempt: 1 }, async (transaction) => {
        await insertBill(transaction, id);
        return refused('not-eligible');
      });
      expect(outcome).toEqual(refused('not-eligible'));
      expect([await bills(id), (await calls.find(id))?.state]).toEqual([0, 'done']);
    });
  });

  describe('forget', () => {
    test('with the rows of the caller, by its fence and no other', async () => {
      const call = await claimed();
      const give = (transaction: SqlTransaction) => insertBill(transaction, call.id).then(() => undefined);
      expect(await calls.forget(call.id, 2, give)).toEqual(refused('fenced'));
      expect([await isThere(call), await bills(call.id)]).toEqual([true, 0]);
      expect(await calls.forget(call.id, 1, give)).toEqual(done(undefined));
      expect([await isThere(call), await bills(call.id)]).toEqual([false, 1]);
      // Both are free again.
      expect(await calls.claim(claiming(call))).toMatchObject({ outcome: 'done' });
    });
  });

  describe('sweep', () => {
    test('forgets what is settled and may be forgotten, so many at a time', async () => {
      const [first, second, kept] = [await settled(), await settled(), await settled()];
      const unsettled = await claimed({ leaseMs: 0 });
      for (const { id } of [first, second]) await makePast('expires_at', id);
      await until(async () => (await calls.sweep(1)) === 0);
      expect(await together(2, (index) => isThere([first, second][index] as NewDurableCall))).toEqual([
        false,
        false,
      ]);
      expect([await isThere(kept), await isThere(unsettled)]).toEqual([true, true]);
    });

    test('at most `limit`', async () => {
      const all = [await settled(), await settled(), await settled()];
      await calls.sweep(1_000);
      for (const { id } of all) await makePast('expires_at', id);
      expect(await calls.sweep(2)).toBe(2);
      expect(await calls.sweep(2)).toBe(1);
    });
  });

  describe('what goes wrong', () => {
    test('the connection ends between the hook and the commit: nothing is left', async () => {
      const call = newCall();
      const ended = openCalls({ connections: 1 }).claim(async (transaction) => {
        await insertBill(transaction, call.id);
        const { rows } = await transaction.execute(database.statement(SESSION_ID[database.kind]));
        await database.kill(Number(rows[0]?.id));
        return done(call);
      });
      await expect(ended).rejects.toMatchObject({ name: 'StoreError', effect: 'none' });
      expect([await isThere(call), await bills(call.id)]).toEqual([false, 0]);
    });

    test('the answer to the commit is lost: it may have been taken, and has been', async () => {
      const proxy = await startProxy(database.url, () => 'answer-lost');
      onTestFinished(() => proxy.close());
      const call = newCall();
      const lost = openCalls({ port: proxy.port }).claim(claiming(call));
      await expect(lost).rejects.toMatchObject({ name: 'StoreError', effect: 'unknown' });
      expect(await isThere(call)).toBe(true);
    });

    test('two that meet in a deadlock both end well, each in a transaction of its own', async () => {
      const [a, b] = ['a', 'b'].map((letter) => `${letter} ${++numbers}`) as [string, string];
      for (const key of [a, b]) await database.query('INSERT INTO bill VALUES (?)', key);
      const update = (transaction: SqlTransaction, key: string) =>
        transaction.execute(
          database.statement('UPDATE bill SET bill_key = bill_key WHERE bill_key = ?', key),
        );
      const bothHaveOne = barrier(2);
      let runs = 0;
      const outcomes = await Promise.all(
        [
          [a, b],
          [b, a],
        ].map(([first = '', second = '']) =>
          calls.claim(async (transaction) => {
            runs++;
            await update(transaction, first);
            await bothHaveOne();
            await update(transaction, second);
            return done(newCall());
          }),
        ),
      );
      expect(outcomes).toMatchObject([{ outcome: 'done' }, { outcome: 'done' }]);
      expect(runs).toBe(3);
    });

    test('a conflict that does not end is thrown, and no refusal', async () => {
      let runs = 0;
      const claim = calls.claim(async () => {
        runs++;
        throw new StoreError('DEADLOCK', 'none', 'again');
      });
      await expect(claim).rejects.toMatchObject({ code: 'DEADLOCK' });
      expect(runs).toBeGreaterThan(1);
    });

    test('a hook that refuses as `contended` is not run again', async () => {
      let runs = 0;
      const outcome = await calls.claim(async () => {
        runs++;
        return refused('contended');
      });
      expect([outcome, runs]).toEqual([refused('contended'), 1]);
    });

    test.each([
      () => calls.claim(claiming(newCall({ leaseMs: 0.5 }))),
      () => calls.claim(claiming(newCall({ finalAfterMs: Number.NaN }))),
      () => calls.settle(newCall().id, 1, changing({ ...DONE, retentionMs: -1 })),
      () => calls.change(newCall().id, 1, { state: 'unknown', leaseMs: Number.MAX_SAFE_INTEGER }),
      () => calls.takeOver(NAME, 0, 1),
      () => calls.takeOver(NAME, 1, Number.POSITIVE_INFINITY),
      () => calls.sweep(1.5),
    ])('a time or a limit that is none is a misuse (%#)', async (use) => {
      await expect(use()).rejects.toMatchObject({ name: 'MisuseError' });
    });
  });

  test('costs one statement on the record, beside those of the hook', async () => {
    const { calls, statements } = counted();
    const cost = async (work: () => Promise<unknown>) => {
      Object.assign(statements, { alone: 0, within: 0 });
      await work();
      return { ...statements };
    };
    const call = newCall({ name: `cost ${++numbers}` });
    const once = { alone: 0, within: 1 };
    expect(await cost(() => calls.claim(claiming(call)))).toEqual(once);
    expect(await cost(() => calls.change(call.id, 1, { state: 'unknown', leaseMs: 0 }))).toEqual({
      alone: 1,
      within: 0,
    });
    const takeOver = { postgres: { alone: 1, within: 0 }, mysql: { alone: 0, within: 2 } };
    expect(await cost(() => calls.takeOver(call.name, 1, 0))).toEqual(takeOver[database.kind]);
    expect(await cost(() => calls.settle(call.id, 2, changing(DONE)))).toEqual(once);
    const reopen = { postgres: once, mysql: { alone: 0, within: 2 } };
    const { name, subject, attempt } = call;
    const value = async () => done({ value: 1, leaseMs: 0 });
    expect(await cost(() => calls.reopen({ name, subject, attempt }, value))).toEqual(reopen[database.kind]);
    expect(await cost(() => calls.forget(call.id, 3, async () => undefined))).toEqual(once);
  });

  test('is the same over Kysely', async () => {
    const over = openCalls({ over: 'kysely' });
    const own = `kysely ${++numbers}`;
    const call = newCall({ name: own, leaseMs: 0, request: ['ü'] });
    expect(await over.claim(claiming(call))).toMatchObject({ outcome: 'done' });
    expect(await over.claim(claiming(call))).toEqual(refused('already-done'));
    expect(await over.takeOver(own, 1, HOUR_MS)).toMatchObject([{ fence: 2, request: ['ü'] }]);
    expect(await over.settle(call.id, 1, changing(DONE))).toEqual(refused('fenced'));
    expect(await over.settle(call.id, 2, changing(DONE))).toEqual(done(undefined));
    expect(await over.find(call.id)).toMatchObject({ state: 'done', answer: ANSWER, fence: 2 });
  });
});
