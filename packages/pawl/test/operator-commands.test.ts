import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  claimUnique,
  type DurableCallChange,
  type DurableCallDefinition,
  type DurableCallStore,
  done,
  durableCalls,
  type IdempotencyRecordId,
  inspectDurableCall,
  type Json,
  listDurableCalls,
  migrate,
  migrationStatements,
  type NewDurableCall,
  pawlTables,
  type Resolution,
  refused,
  resolveDurableCall,
  type SqlPort,
  type SqlTransaction,
  sqlDurableCallStore,
  sqlIdempotencyStore,
} from '../src/index.ts';
import { CANARY, expectOneLine, run, start } from './pawl-command.ts';
import { openStore, type Store } from './stores.ts';

const TABLES = pawlTables();
const NAME = 'charge';
const SCOPE = '["member-1","tickets"]';
const HOUR_MS = 3_600_000;

let database: Store;
let sql: SqlPort;
let calls: DurableCallStore<SqlTransaction>;
let numbers = 0;

function newCall(given: Partial<NewDurableCall> = {}): NewDurableCall {
  const number = ++numbers;
  return {
    id: { scope: SCOPE, key: `key-${number}` },
    fingerprint: 'ab'.repeat(32),
    name: NAME,
    subject: `order-${number}`,
    attempt: 1,
    state: 'calling',
    request: { paymentKey: CANARY },
    leaseMs: HOUR_MS,
    ...given,
  };
}

async function claimed(given: Partial<NewDurableCall> = {}): Promise<NewDurableCall> {
  const call = newCall(given);
  expect(await calls.claim(async () => done(call))).toMatchObject({ outcome: 'done' });
  return call;
}

/** A call that its owner, or who comes after him, has left so. */
async function left(change: DurableCallChange, given: Partial<NewDurableCall> = {}): Promise<NewDurableCall> {
  const call = await claimed(given);
  expect(await calls.change(call.id, 1, change)).toBe(true);
  return call;
}

const stuck = (given: Partial<DurableCallChange> = {}, call: Partial<NewDurableCall> = {}) =>
  left({ state: 'stuck', leaseMs: undefined, ...given } as DurableCallChange, call);

async function makePast(column: string, { key }: IdempotencyRecordId, agoMs: number): Promise<void> {
  const moment = {
    postgres: `clock_timestamp() - interval '${agoMs} milliseconds'`,
    mysql: `UTC_TIMESTAMP(6) - INTERVAL ${agoMs * 1_000} MICROSECOND`,
  };
  await database.query(
    `UPDATE ${TABLES.durableCall} SET ${column} = ${moment[database.kind]} WHERE idempotency_key = ?`,
    key,
  );
}

/** What a command prints as JSON. */
async function json(...args: string[]) {
  const { code, out, err } = await run(...args, '--json', database.url);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out);
}

const keysOf = (found: readonly { readonly id: IdempotencyRecordId }[]) => found.map(({ id }) => id.key);

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  beforeAll(async () => {
    database = await openStore(name);
    sql = database.open();
    await migrate(sql);
    calls = sqlDurableCallStore(sql);
  });

  afterAll(() => database.close());

  afterEach(async () => {
    await database.query(`DELETE FROM ${TABLES.durableCall}`);
  });

  describe('list', () => {
    test('shows what is not settled, the oldest first, and not what it carries', async () => {
      const first = await claimed();
      const second = await stuck({ code: 'REJECT\u001b[31m', value: CANARY });
      const settled = await claimed();
      const change = { state: 'done', retentionMs: HOUR_MS } as const;
      await calls.settle(settled.id, 1, async () => done(change));
      await makePast('created_at', second.id, 9_000_000);

      const listed = await json('list');
      expect(listed).toEqual([
        {
          id: second.id,
          name: NAME,
          subject: second.subject,
          attempt: 1,
          state: 'stuck',
          fence: 1,
          isFinal: false,
          compensationTry: 0,
          code: 'REJECT\u001b[31m',
          ageMs: expect.any(Number),
          unchangedMs: expect.any(Number),
        },
        expect.objectContaining({ id: first.id, state: 'calling', leaseLeftMs: expect.any(Number) }),
      ]);
      const { code, out, err } = await run('list', database.url);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const [titles, ...lines] = out.trimEnd().split('\n');
      expect(titles).toMatch(/^STATE +CALL +SUBJECT +ATTEMPT +AGE +UNCHANGED +LEASE +CODE +KEY +SCOPE$/);
      expect(lines).toEqual([
        expect.stringMatching(
          /^stuck +charge +order-\d+ +1 +2\.5 h +\d+.* +none +REJECT\\u001b\[31m +key-\d+ +\[/,
        ),
        expect.stringMatching(/^calling +charge +order-\d+ +1 +.* +\d+\.\d (?:min|h) +– +key-\d+ +\[/),
      ]);
      expect(out + JSON.stringify(listed)).not.toContain(CANARY);
    });

    test('of one name, and so many', async () => {
      const own = await claimed({ name: 'other' });
      const [first] = [await claimed(), await claimed()];
      expect(keysOf(await json('list', '--name', 'other'))).toEqual([own.id.key]);
      expect(keysOf(await json('list', '--name', NAME, '--limit', '1'))).toEqual([first?.id.key]);
      const { out } = await run('list', '--limit', '1', database.url);
      expect(out).toMatch(/\nThese are the first 1; --limit shows more\.\n$/);
    });

    test('stuck are those left to an operator, those that are final, and those that are old', async () => {
      const [given, final, old, past, live] = [
        await stuck(),
        await claimed({ finalAfterMs: HOUR_MS }),
        await claimed(),
        await claimed({ leaseMs: 0 }),
        await claimed({ finalAfterMs: HOUR_MS }),
      ];
      await makePast('final_after', final.id, 1);
      await makePast('created_at', old.id, 700_000);
      const settled = await claimed();
      await calls.settle(settled.id, 1, async () => done({ state: 'done', retentionMs: HOUR_MS }));
      await makePast('created_at', settled.id, 700_000);
      expect(keysOf(await json('list', '--stuck')).sort()).toEqual(keysOf([given, final, old]).sort());
      expect(keysOf(await json('list', '--stuck', '--older-than', '800000')).sort()).toEqual(
        keysOf([given, final]).sort(),
      );
      expect(await json('list', '--stuck', '--older-than', '0')).toHaveLength(5);
      expect(keysOf(await listDurableCalls(sql)).sort()).toEqual(
        keysOf([given, final, old, past, live]).sort(),
      );
    });

    test('none', async () => {
      expect(await run('list', database.url)).toMatchObject({
        code: 0,
        out: 'No durable call is unsettled.\n',
      });
      expect(await run('list', '--stuck', database.url)).toMatchObject({
        out: 'No durable call is stuck.\n',
      });
      expect(await json('list')).toEqual([]);
    });

    test.each([{ olderThanMs: -1 }, { olderThanMs: 0.5 }, { limit: 0 }])('%o is a misuse', async (asked) => {
      await expect(listDurableCalls(sql, asked)).rejects.toMatchObject({ name: 'MisuseError' });
    });
  });

  describe('inspect', () => {
    test('shows all of the call that has the key, settled or not', async () => {
      const { id, subject } = await claimed({ request: { 한글: [1, null] } });
      const answer = {
        status: 201,
        headers: { location: '/bills/1' },
        body: Buffer.from('{"bill":"ü\u0007"}'),
      };
      await calls.settle(id, 1, async () =>
        done({ state: 'done', answer, code: 'OK', retentionMs: HOUR_MS }),
      );
      const shown = {
        id,
        name: NAME,
        subject,
        attempt: 1,
        fingerprint: 'ab'.repeat(32),
        state: 'done',
        fence: 1,
        isFinal: false,
        request: { 한글: [1, null] },
        compensationTry: 0,
        code: 'OK',
        ageMs: expect.any(Number),
        unchangedMs: expect.any(Number),
      };
      expect(await json('inspect', id.key)).toEqual([
        { ...shown, answer: { ...answer, body: '{"bill":"ü\u0007"}' } },
      ]);
      const { code, out } = await run('inspect', id.key, database.url);
      expect(code).toBe(0);
      for (const part of [
        `charge of ${subject}, attempt 1`,
        SCOPE,
        '{"한글":[1,null]}',
        'done, fence 1',
        '201',
      ]) {
        expect(out).toContain(part);
      }
      expect(out).not.toContain('\u0007');
    });

    test('a body that is no text is shown as what it is', async () => {
      const { id } = await claimed();
      const answer = { status: 200, headers: {}, body: Buffer.from([0xff, 0xfe]) };
      await calls.settle(id, 1, async () => done({ state: 'done', answer, retentionMs: HOUR_MS }));
      expect(await json('inspect', id.key)).toMatchObject([{ answer: { bodyInBase64: '//4=' } }]);
    });

    test('by key in every scope, by subject in every attempt, byte by byte', async () => {
      const [mine, yours] = [await claimed(), await claimed({ id: { scope: 'yours', key: 'Key' } })];
      const again = await claimed({ id: { scope: 'mine', key: 'Key' } });
      const second = await claimed({ subject: mine.subject, attempt: 2 });
      await claimed({ id: { scope: 'mine', key: 'key' } });
      expect(keysOf(await json('inspect', 'Key'))).toHaveLength(2);
      expect(await json('inspect', 'Key', '--scope', 'yours')).toMatchObject([{ id: yours.id }]);
      expect(await json('inspect', 'Key', '--scope', 'mine')).toMatchObject([{ id: again.id }]);
      expect(keysOf(await inspectDurableCall(sql, mine.subject))).toEqual(keysOf([mine, second]));
    });

    test('none: 1', async () => {
      const { code, ...output } = await run('inspect', 'nothing', database.url);
      expect(code).toBe(1);
      expectOneLine(output, 'no durable call has this key or subject');
    });
  });

  describe('resolve', () => {
    const resolve = ({ id }: NewDurableCall, resolution: Resolution) =>
      resolveDurableCall(sql, { ...id, ...resolution });

    /** What the instance finds that takes it over next. */
    async function takenOver() {
      const [call] = await calls.takeOver(NAME, 10, HOUR_MS);
      return (
        call && { state: call.state, verdict: call.verdict, value: call.value, tries: call.compensationTry }
      );
    }

    const VALUE = { bill: 'ü' };
    const UNDOING = { state: 'compensating', value: VALUE, compensationTry: 2 } as const;

    test.each<{
      what: string;
      before: () => Promise<NewDurableCall>;
      resolution: Resolution;
      found: { state: string; verdict?: string; value?: Json; tries?: number };
    }>([
      {
        what: 'stuck, and done with a value',
        before: () => stuck(),
        resolution: { verdict: 'done', value: VALUE },
        found: { state: 'unknown', verdict: 'done', value: VALUE },
      },
      {
        what: 'stuck, and done with JSON’s null',
        before: () => stuck(),
        resolution: { verdict: 'done', value: null },
        found: { state: 'unknown', verdict: 'done', value: null },
      },
      {
        what: 'stuck, and not done',
        before: () => stuck(),
        resolution: { verdict: 'not-done' },
        found: { state: 'unknown', verdict: 'not-done' },
      },
      {
        what: 'stuck before anything was to be undone, and undone',
        before: () => stuck(),
        resolution: { verdict: 'undone' },
        found: { state: 'unknown', verdict: 'undone' },
      },
      {
        what: 'stuck, and tried again',
        before: () => stuck(),
        resolution: { retry: true },
        found: { state: 'unknown' },
      },
      {
        what: 'stuck while it was undone, and undone',
        before: () => stuck({ value: VALUE, compensationTry: 2 }),
        resolution: { verdict: 'undone' },
        found: { state: 'compensating', verdict: 'undone', value: VALUE, tries: 2 },
      },
      {
        what: 'stuck while it was undone, and tried again',
        before: () => stuck({ value: VALUE, compensationTry: 2 }),
        resolution: { retry: true },
        found: { state: 'compensating', value: VALUE, tries: 2 },
      },
      {
        what: 'recorded as an effect that nobody meant, and undone',
        before: () => {
          const { leaseMs: _, ...call } = newCall({ state: 'stuck', value: VALUE });
          return calls.claim(async () => done(call)).then(() => call);
        },
        resolution: { verdict: 'undone' },
        found: { state: 'compensating', verdict: 'undone', value: VALUE, tries: 1 },
      },
      {
        what: 'looked up only, and not done',
        before: () => left({ state: 'looking', leaseMs: 0 }),
        resolution: { verdict: 'not-done' },
        found: { state: 'looking', verdict: 'not-done' },
      },
      {
        what: 'its owner’s, whose lease is over, and tried again',
        before: () => claimed({ leaseMs: 0 }),
        resolution: { retry: true },
        found: { state: 'unknown' },
      },
    ])('$what', async ({ before, resolution, found }) => {
      const call = await before();
      expect(await resolve(call, resolution)).toEqual(done(undefined));
      expect(await takenOver()).toEqual({ verdict: undefined, value: undefined, tries: 0, ...found });
    });

    test('a value that came with a verdict is nothing to undo', async () => {
      const call = await stuck();
      await resolve(call, { verdict: 'done', value: VALUE });
      // It could not be settled, and nobody can compensate it.
      await calls.takeOver(NAME, 1, HOUR_MS);
      const { fence = 0 } = (await calls.find(call.id)) ?? {};
      await calls.change(call.id, fence, { state: 'stuck', leaseMs: undefined });
      await resolve(call, { verdict: 'undone' });
      expect(await takenOver()).toEqual({ state: 'unknown', verdict: 'undone', value: undefined, tries: 0 });
    });

    test('what was being undone goes on being undone, when a verdict on it is withdrawn', async () => {
      const call = await stuck({ value: VALUE, compensationTry: 2 });
      await resolve(call, { verdict: 'undone' });
      await resolve(call, { retry: true });
      expect(await takenOver()).toEqual({
        state: 'compensating',
        verdict: undefined,
        value: VALUE,
        tries: 2,
      });
    });

    test('a verdict that is withdrawn leaves nothing of itself', async () => {
      const call = await stuck();
      await resolve(call, { verdict: 'done', value: VALUE });
      await resolve(call, { retry: true });
      expect(await takenOver()).toEqual({ state: 'unknown', verdict: undefined, value: undefined, tries: 0 });
    });

    test('not while its lease lasts, nor when it is settled, nor without knowing what it came to', async () => {
      const held = await claimed();
      const before = await calls.find(held.id);
      expect(await resolve(held, { verdict: 'not-done' })).toEqual(refused('in-progress'));
      expect(await calls.find(held.id)).toEqual({
        ...before,
        leaseLeftMs: expect.any(Number),
        ageMs: expect.any(Number),
      });
      const settled = await claimed();
      await calls.settle(settled.id, 1, async () => done({ state: 'done', retentionMs: HOUR_MS }));
      expect(await resolve(settled, { verdict: 'not-done' })).toEqual(refused('already-done'));
      expect(await resolve(await stuck(), { verdict: 'done' })).toEqual(refused('wrong-state'));
      expect(await resolve(newCall(), { retry: true })).toBeUndefined();
    });

    test('what is being undone is resolved as undone alone: its effect was there, and has no place any more', async () => {
      for (const call of [
        await left({ ...UNDOING, leaseMs: 0 }),
        await stuck({ value: VALUE, compensationTry: 2 }),
      ]) {
        for (const verdict of ['done', 'not-done'] as const) {
          expect(await resolve(call, { verdict })).toEqual(refused('wrong-state'));
        }
        expect(await calls.find(call.id)).toMatchObject({ verdict: undefined, compensationTry: 2 });
      }
    });

    test('whoever was at it before writes nothing over the verdict', async () => {
      const call = await claimed({ leaseMs: 0 });
      await resolve(call, { verdict: 'not-done' });
      const late = calls.settle(call.id, 1, async () => done({ state: 'done', retentionMs: HOUR_MS }));
      expect(await late).toEqual(refused('fenced'));
      expect(await takenOver()).toMatchObject({ verdict: 'not-done' });
    });

    describe('the service goes on with it', () => {
      const told: string[] = [];
      const answer = (text: string) => ({ status: 200, body: Buffer.from(text) });
      const never = () => Promise.reject(new Error('nobody must be asked'));
      const definition: DurableCallDefinition<SqlTransaction, Json, Json> = {
        name: NAME,
        repeat: 'idempotent',
        send: never,
        lookUp: never,
        async settle(_, __, value) {
          told.push(`settled ${value}`);
          return done(answer('paid'));
        },
        async release(_, __, why) {
          told.push(`released ${why.reason}`);
          return answer('not paid');
        },
        forget: never,
        compensation: {
          name: 'refund',
          send: never,
          lookUp: never,
          began: never,
          async ended(_, { value }) {
            told.push(`ended ${value}`);
            return answer('refunded');
          },
        },
      };

      beforeEach(() => {
        told.length = 0;
      });

      test.each<[Resolution, DurableCallChange, string, string]>([
        [{ verdict: 'done', value: 7 }, { state: 'stuck', leaseMs: undefined }, 'settled 7', 'done'],
        [{ verdict: 'not-done' }, { state: 'stuck', leaseMs: undefined }, 'released operator', 'released'],
        [{ verdict: 'undone' }, { state: 'stuck', leaseMs: undefined }, 'released operator', 'released'],
        [
          { verdict: 'undone' },
          { state: 'stuck', leaseMs: undefined, value: 7, compensationTry: 1 },
          'ended 7',
          'compensated',
        ],
      ])('%j of %j: %s', async (resolution, change, said, state) => {
        const call = await left(change);
        expect(await resolve(call, resolution)).toEqual(done(undefined));
        expect(await durableCalls(calls, definition).recover()).toBe(1);
        expect(told).toEqual([said]);
        expect((await calls.find(call.id))?.state).toBe(state);
      });
    });

    describe('pawl resolve', () => {
      test('records the verdict, and says what comes next', async () => {
        const { id } = await stuck();
        const { code, out, err } = await run(
          'resolve',
          id.key,
          '--done',
          '--value',
          '{"bill":1}',
          database.url,
        );
        expect({ code, err }).toEqual({ code: 0, err: '' });
        expect(out).toBe(
          `Recorded for ${id.key} of ${SCOPE}. The next instance that recovers goes on with it.\n`,
        );
        expect(await takenOver()).toMatchObject({ verdict: 'done', value: { bill: 1 } });
      });

      test.each([
        [['--not-done'], { verdict: 'not-done' }],
        [['--undone'], { verdict: 'undone' }],
        [['--retry'], { retry: true }],
      ])('%j', async (flags, resolution) => {
        const { id } = await stuck();
        expect(await json('resolve', id.key, ...flags)).toEqual({ ...id, ...resolution });
        expect((await takenOver())?.verdict).toBe('verdict' in resolution ? resolution.verdict : undefined);
      });

      test('one of several that have the key is chosen by its scope', async () => {
        const [first, second] = [
          await stuck({}, { id: { scope: 'one', key: 'shared' } }),
          await stuck({}, { id: { scope: 'two', key: 'shared' } }),
        ];
        const { code, ...output } = await run('resolve', 'shared', '--not-done', database.url);
        expect(code).toBe(1);
        expectOneLine(output, '--scope: one, two');
        expect(await json('resolve', 'shared', '--not-done', '--scope', 'two')).toMatchObject(second.id);
        expect((await calls.find(first.id))?.verdict).toBeUndefined();
        expect((await calls.find(second.id))?.verdict).toBe('not-done');
      });

      test('refusals: 1, and nothing was changed', async () => {
        const held = await claimed();
        const settled = await claimed();
        await calls.settle(settled.id, 1, async () => done({ state: 'done', retentionMs: HOUR_MS }));
        const unknown = await stuck();
        for (const [key, flags, says] of [
          [held.id.key, ['--not-done', '--wait', '0'], 'an instance is at it'],
          [settled.id.key, ['--not-done'], 'settled already'],
          [unknown.id.key, ['--done'], '--value'],
          ['nothing', ['--done'], 'no durable call has this key'],
          ['nothing', ['--done', '--scope', 'none'], 'no durable call has this key and scope'],
        ] as const) {
          const { code, ...output } = await run('resolve', key, ...flags, database.url);
          expect(code).toBe(1);
          expectOneLine(output, says);
        }
        for (const { id } of [held, settled, unknown]) {
          expect(await calls.find(id)).toMatchObject({ fence: 1, verdict: undefined });
        }
      });

      test('waits for whoever is at it', async () => {
        const { id } = await claimed({ leaseMs: 1_500 });
        expect((await run('resolve', id.key, '--not-done', database.url)).code).toBe(0);
        expect(await takenOver()).toMatchObject({ verdict: 'not-done' });
      });
    });
  });

  describe('sweep', () => {
    test('forgets what may be forgotten in all tables, in batches, and nothing else', async () => {
      const keys = sqlIdempotencyStore(sql);
      const owner = '8a2c7b6e-0000-4000-8000-000000000001';
      const record = { mode: 'leased', fingerprint: 'ab'.repeat(32), owner, leaseMs: 0 } as const;
      const { claim: table } = TABLES;
      for (const [index, ms] of [1, 1, 1, 1, 1, HOUR_MS].entries()) {
        await keys.claim({ ...record, scope: 's', key: `k-${index}`, retentionMs: ms });
        const expiry = { column: 'expires_at', leaseMs: ms };
        if (index > 2)
          await claimUnique(sql, { table, key: { claim_key: `c-${index}` }, values: { owner }, expiry });
        const { id } = await claimed();
        if (index > 0) await calls.settle(id, 1, async () => done({ state: 'done', retentionMs: ms }));
      }
      expect(await json('sweep', '--limit', '2')).toEqual({ idempotencyKeys: 5, claims: 2, durableCalls: 4 });
      expect(await run('sweep', database.url)).toEqual({
        code: 0,
        out: 'Forgotten: idempotency keys 0, claims 0, durable calls 0\n',
        err: '',
      });
      for (const [one, count] of [
        [TABLES.idempotencyKey, 1],
        [TABLES.claim, 1],
        [TABLES.durableCall, 2],
      ] as const) {
        expect((await database.query(`SELECT 1 AS one FROM ${one}`)).rows).toHaveLength(count);
      }
    });
  });

  test('work on the tables of a schema and a prefix', async () => {
    const tables = (await migrate(sql, { prefix: 'x_' })).tables;
    const others = sqlDurableCallStore(sql, { table: tables.durableCall });
    const call = newCall();
    await others.claim(async () => done(call));
    const { code, out } = await start(['list', '--prefix', 'x_', '--json'], { DATABASE_URL: database.url })
      .ended;
    expect(code).toBe(0);
    expect(keysOf(JSON.parse(out))).toEqual([call.id.key]);
    expect(await json('list')).toEqual([]);
  });
});

describe.each(['postgres', 'mariadb'] as const)('%s: tables that are missing', (name) => {
  beforeAll(async () => {
    database = await openStore(name);
    sql = database.open();
  });

  afterAll(() => database.close());

  test.each([['list'], ['inspect', 'key'], ['resolve', 'key', '--retry'], ['sweep']])(
    '%s: 255',
    async (...args) => {
      const { code, ...output } = await run(...args, database.url);
      expect(code).toBe(255);
      expectOneLine(
        output,
        'does not have pawl_idempotency_key, pawl_claim, pawl_durable_call',
        'run pawl migrate',
      );
    },
  );

  test('those of an older library are told by name', async () => {
    const statements = migrationStatements(sql.dialect, { prefix: 'old_' });
    const end = statements.findIndex((text) => text.includes(`'0001-`));
    for (const text of statements.slice(0, end + 1)) await database.query(text);
    const { code, ...output } = await run('list', '--prefix', 'old_', database.url);
    expect(code).toBe(255);
    expectOneLine(output, 'does not have old_durable_call: run pawl migrate');
  });

  test('what is refused for another reason is told as it is', async () => {
    await migrate(sql, { prefix: 'bad_' });
    await database.query('ALTER TABLE bad_durable_call RENAME COLUMN subject TO about');
    const { code, ...output } = await run('list', '--prefix', 'bad_', database.url);
    expect(code).toBe(255);
    expectOneLine(output, 'refused by', 'subject');
  });
});

describe('bad arguments end with 254, and nothing secret is repeated', () => {
  const url = `postgres://user:${CANARY}@127.0.0.1:1/db`;

  test.each([
    { args: ['list'], says: 'DATABASE_URL' },
    { args: ['list', url, url], says: 'one database' },
    { args: ['list', CANARY], says: 'postgres://' },
    { args: ['list', url, '--limit', '0'], says: '--limit must be a whole number ≥ 1, got 0' },
    { args: ['list', url, '--limit', '1e3'], says: '--limit' },
    { args: ['list', url, '--older-than', '5'], says: '--stuck' },
    { args: ['list', url, '--stuck', '--older-than', '5s'], says: '--older-than must be a whole number' },
    { args: ['list', url, '--schema', 'a.b'], says: 'a.b' },
    { args: ['inspect'], says: 'key or subject' },
    { args: ['inspect', 'key'], says: 'DATABASE_URL' },
    { args: ['inspect', 'key', url, url], says: 'one database' },
    { args: ['resolve', '--done'], says: 'by its key' },
    { args: ['resolve', 'key', url], says: 'one of --done' },
    { args: ['resolve', 'key', url, '--done', '--undone'], says: 'one of --done' },
    { args: ['resolve', 'key', url, '--done', '--value', `{${CANARY}`], says: '--value must be JSON' },
    { args: ['resolve', 'key', url, '--retry', '--value', '1'], says: '--value goes with --done' },
    { args: ['resolve', 'key', url, '--retry', '--wait', '-1'], says: '--wait' },
    { args: ['resolve', 'key', '--retry'], says: 'DATABASE_URL' },
    { args: ['sweep', url, '--limit', 'all'], says: '--limit' },
    { args: ['sweep', url, url], says: 'one database' },
  ])('$args.0: $says', async ({ args, says }) => {
    const { code, ...output } = await run(...args);
    expect(code).toBe(254);
    expectOneLine(output, says);
  });
});

test.each(['list', 'inspect', 'resolve', 'sweep'])('pawl %s --help is an answer', async (command) => {
  const { code, out, err } = await run(command, '--help');
  expect({ code, err, usage: out.startsWith(`Usage: pawl ${command} `) }).toEqual({
    code: 0,
    err: '',
    usage: true,
  });
});
