import { createPool } from 'mysql2';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { thorough } from '../../../test/stores.ts';
import { mysql2Port } from '../src/adapters/mysql2.ts';
import { pgPort } from '../src/adapters/pg.ts';
import {
  type Answer,
  done,
  type IdempotencyEvent,
  type IdempotencyKeyOptions,
  type IdempotencyStore,
  type IdempotentRequest,
  InvalidKeyError,
  idempotencyKeys,
  LeaseLostError,
  MisuseError,
  memoryIdempotencyStore,
  refused,
  type SqlIdempotencyStore,
  type SqlTransaction,
  StoreError,
  sqlIdempotencyStore,
  transact,
} from '../src/index.ts';
import {
  answer,
  idempotencyStores,
  idOf,
  newRequest,
  type OpenIdempotencyStore,
  type OpenSqlIdempotencyStore,
  openIdempotencyStore,
  openSqlIdempotencyStore,
  shown,
} from './idempotency-stores.ts';

const RACERS = 50;
const NEVER_RUNS = (): Promise<never> => Promise.reject(new Error('the work ran'));

function open(store: IdempotencyStore, options: IdempotencyKeyOptions = {}) {
  const events: IdempotencyEvent[] = [];
  const keys = idempotencyKeys(store, { ...options, onEvent: (event) => events.push(event) });
  return { keys, events, kinds: () => events.map(({ kind }) => kind) };
}

/** Work that has begun when `begun` resolves, and ends when `end` is called. */
function heldWork(given: Answer) {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  return {
    begun: begun.promise,
    end: () => ended.resolve(),
    work: async () => {
      begun.resolve();
      await ended.promise;
      return done(given);
    },
  };
}

const inProgress = { outcome: 'refused', reason: 'in-progress', retryAfterMs: expect.any(Number) };

/** Of these the conformance cases, the model and the takeovers try what is their own; all of it is tried in the long form. */
const IN_THE_LONG_FORM = /in groups$|^redis before 7$/;
const stores = idempotencyStores.filter((name) => thorough || !IN_THE_LONG_FORM.test(name));

describe.each(stores)('%s', (name) => {
  let opened: OpenIdempotencyStore;
  let store: IdempotencyStore;

  beforeAll(async () => {
    opened = await openIdempotencyStore(name);
    store = opened.store;
  });

  afterAll(() => opened.close());

  const replayOf = async (request: IdempotentRequest) => {
    const outcome = await idempotencyKeys(store).run(request, NEVER_RUNS);
    if (outcome.outcome !== 'done' || !outcome.replayed) throw new Error(`no replay: ${outcome.outcome}`);
    return shown(outcome.value);
  };

  test('without an atomic claim, 50 who look first all run', async () => {
    const request = newRequest();
    const everybodyHasLooked = barrier(RACERS);
    let runs = 0;
    await together(RACERS, async () => {
      const found = await store.read(idOf(request));
      await everybodyHasLooked();
      if (found === undefined) runs++;
    });
    expect(runs).toBe(RACERS);
  });

  test('of 50 simultaneous requests one runs, 49 are refused while it does, and then all get its answer', async () => {
    const { keys } = open(store);
    const request = newRequest();
    let runs = 0;
    // The work ends only when the other 49 have had their answer.
    const everybodyElseAnswered = barrier(RACERS);
    const outcomes = await together(RACERS, async () => {
      const outcome = await keys.run(request, async () => {
        runs++;
        await everybodyElseAnswered();
        return done(answer('bill 7'));
      });
      if (outcome.outcome === 'refused') void everybodyElseAnswered();
      return outcome;
    });
    expect(runs).toBe(1);
    expect(outcomes.filter(({ outcome }) => outcome === 'done')).toEqual([done(answer('bill 7'))]);
    expect(outcomes.filter(({ outcome }) => outcome === 'refused')).toEqual(Array(49).fill(inProgress));
    expect(await replayOf(request)).toEqual(shown(answer('bill 7')));
  });

  test('who may wait gets the first one’s answer', async () => {
    const { keys } = open(store, { waitMs: 20_000 });
    const request = newRequest();
    const held = heldWork(answer('first'));
    const first = keys.run(request, held.work);
    await held.begun;
    // Enough of them to be refused meanwhile, were it not for the wait.
    const others = together(5, () => keys.run(request, NEVER_RUNS));
    await expect(open(store).keys.run(request, NEVER_RUNS)).resolves.toEqual(inProgress);
    held.end();
    expect(await first).toEqual(done(answer('first')));
    for (const other of await others) {
      expect(other).toMatchObject({ outcome: 'done', replayed: true });
    }
  });

  test('who waits for one that is refused runs', async () => {
    const { keys } = open(store, { waitMs: 20_000 });
    const request = newRequest();
    const firstRuns = barrier(2);
    const firstEnds = barrier(2);
    const first = keys.run(request, async () => {
      await firstRuns();
      await firstEnds();
      return refused('declined');
    });
    await firstRuns();
    const second = keys.run(request, async () => done(answer('second')));
    await firstEnds();
    expect(await first).toEqual(refused('declined'));
    expect(await second).toEqual(done(answer('second')));
  });

  test('every byte, every status and the listed headers come back, and no others', async () => {
    const { keys } = open(store);
    const bodies = [Buffer.alloc(0), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))];
    const headers = {
      'Content-Type': 'text/plain; charset="utf-8"',
      Location: '/bill/1',
      ETag: 'Ünï\u{1f4b6}',
    };
    const secret = { 'Set-Cookie': 'session=1', Authorization: 'Bearer x', 'X-Trace': '1' };
    for (const body of bodies) {
      for (const status of [100, 201, 404, 499]) {
        const request = newRequest();
        await keys.run(request, async () => done({ status, headers: { ...headers, ...secret }, body }));
        expect(await replayOf(request)).toEqual({
          status,
          headers: { 'content-type': headers['Content-Type'], location: '/bill/1', etag: headers.ETag },
          body: body.toString('latin1'),
        });
      }
    }
  });

  test('what its first caller does to the bytes afterwards is not replayed', async () => {
    const { keys } = open(store);
    const request = newRequest();
    const body = Buffer.from('original');
    await keys.run(request, async () => done(answer('', { body })));
    body.fill('x');
    expect((await replayOf(request)).body).toBe('original');
    const replay = await keys.run(request, NEVER_RUNS);
    if (replay.outcome === 'done') replay.value.body.fill(0);
    expect((await replayOf(request)).body).toBe('original');
  });

  describe('what makes a key another key', () => {
    test.each([
      ['another member', { scope: ['member 2', 'POST /api/tickets'] }],
      ['another route', { scope: ['member 1', 'POST /api/orders'] }],
      ['a scope that reads the same when joined', { scope: ['member 1,POST /api/tickets'] }],
    ])('%s', async (_, other) => {
      const { keys } = open(store);
      const request = newRequest();
      await keys.run(request, async () => done(answer('mine')));
      const theirs = await keys.run({ ...request, ...other }, async () => done(answer('theirs')));
      expect(theirs).toEqual(done(answer('theirs')));
      expect((await replayOf(request)).body).toBe('mine');
    });

    test('case, accents, trailing blanks, forms of Unicode, width', async () => {
      const { keys } = open(store);
      const { key } = newRequest();
      const variants = [
        'Abc',
        'abc',
        'Äbc',
        'A\u0308bc',
        'Abc ',
        'Abc  ',
        'Ａbc',
        'ABC',
        'Abc0',
        'Abc%',
        'Abc_',
        '0',
        ' ',
      ];
      for (const variant of variants) {
        const request = newRequest({ key: `${key}${variant}` });
        expect(await keys.run(request, async () => done(answer(variant)))).toMatchObject({ replayed: false });
      }
      for (const variant of variants) {
        expect(Buffer.from((await replayOf(newRequest({ key: `${key}${variant}` }))).body, 'latin1')).toEqual(
          Buffer.from(variant),
        );
      }
    });
  });

  test.each([
    ['a blank more', '{"amount": 1000}'],
    ['nothing', ''],
    ['other bytes of the same length', '{"amount":1001}'],
  ])(
    'a key that comes back with another payload (%s) is refused, while the first runs and after',
    async (_, payload) => {
      const { keys } = open(store);
      const request = newRequest();
      const held = heldWork(answer('first'));
      const first = keys.run(request, held.work);
      await held.begun;
      expect(await keys.run({ ...request, payload }, NEVER_RUNS)).toEqual(refused('payload-mismatch'));
      held.end();
      await first;
      expect(await keys.run({ ...request, payload }, NEVER_RUNS)).toEqual(refused('payload-mismatch'));
      expect((await replayOf(request)).body).toBe('first');
    },
  );

  test('an abandoned key is not taken over by another payload: the first may have had its effect', async () => {
    const { keys } = open(store);
    const request = newRequest();
    await expect(keys.run(request, () => Promise.reject(new Error('crash')))).rejects.toThrow('crash');
    await opened.endLease(idOf(request));
    expect(await keys.run({ ...request, payload: 'other' }, NEVER_RUNS)).toEqual(refused('payload-mismatch'));
    expect(await keys.run(request, async ({ attempt }) => done(answer(`attempt ${attempt}`)))).toEqual(
      done(answer('attempt 2')),
    );
  });

  test('bytes and text are one payload, parsed or not', async () => {
    const { keys } = open(store);
    const request = newRequest({ payload: 'grüße' });
    await keys.run(request, async () => done(answer('x')));
    expect(await replayOf({ ...request, payload: Buffer.from('grüße') })).toEqual(shown(answer('x')));
  });

  describe('the shape of a key', () => {
    test.each([
      ['1 character', 'a'],
      ['255 characters', 'k'.repeat(255)],
      ['255 characters of four bytes', '\u{1f511}'.repeat(255)],
    ])('%s: accepted', async (_, key) => {
      const { keys } = open(store);
      const request = newRequest({ key, scope: ['shape', key.slice(0, 2)] });
      expect(await keys.run(request, async () => done(answer('x')))).toEqual(done(answer('x')));
      expect(await replayOf(request)).toEqual(shown(answer('x')));
    });

    test.each([
      ['0 characters', ''],
      ['256 characters', 'k'.repeat(256)],
      ['a megabyte', 'k'.repeat(1_000_000)],
      ['NUL', 'a\0b'],
      ['a line break', 'a\r\nb'],
      ['DEL', 'a\x7f'],
      ['a control character of Latin-1', 'a\u0085'],
      ['half a surrogate pair', 'a\ud800'],
      ['no text', 7 as never],
      ['nothing', undefined as never],
    ])('%s: refused, and nothing is left behind', async (_, key) => {
      const before = await opened.records();
      const attempt = open(store).keys.run({ ...newRequest(), key }, NEVER_RUNS);
      await expect(attempt).rejects.toThrow(InvalidKeyError);
      expect(await opened.records()).toBe(before);
    });

    test.each([
      ['none', []],
      ['an empty part', ['member', '']],
      ['a member without an id', ['POST /x', undefined as never]],
      ['text instead of a list', 'member' as never],
      ['a line break', ['a\nb']],
      ['too long', ['s'.repeat(1_020)]],
    ])('a scope that names nobody (%s) is a misuse', async (_, scope) => {
      const attempt = open(store).keys.run({ ...newRequest(), scope }, NEVER_RUNS);
      await expect(attempt).rejects.toThrow(MisuseError);
    });

    test('the longest scope beside the longest key', async () => {
      const request = newRequest({ key: '\u{1f511}'.repeat(255), scope: ['s'.repeat(1_016)] });
      await open(store).keys.run(request, async () => done(answer('x')));
      expect(await replayOf(request)).toEqual(shown(answer('x')));
    });
  });

  describe('what becomes of a key', () => {
    const second = async () => done(answer('second'));

    test.each([
      ['200', answer('first'), 'replayed'],
      ['404', answer('first', { status: 404 }), 'replayed'],
      ['409', answer('first', { status: 409 }), 'replayed'],
      ['408', answer('first', { status: 408 }), 'taken'],
      ['425', answer('first', { status: 425 }), 'free'],
      ['429', answer('first', { status: 429 }), 'free'],
      ['500', answer('first', { status: 500 }), 'taken'],
      ['503', answer('first', { status: 503 }), 'taken'],
    ])('an answer %s, by default', async (_, given, fate) => {
      const { keys } = open(store);
      const request = newRequest();
      expect(await keys.run(request, async () => done(given))).toEqual(done(given));
      if (fate === 'replayed') expect(await replayOf(request)).toEqual(shown(given));
      if (fate === 'free') expect(await keys.run(request, second)).toEqual(done(answer('second')));
      if (fate === 'taken') {
        expect(await keys.run(request, second)).toEqual(inProgress);
        await opened.endLease(idOf(request));
        expect(await keys.run(request, second)).toEqual(done(answer('second')));
      }
    });

    test('a refusal gives it back; unknown and thrown keep it until the lease is over', async () => {
      const { keys } = open(store);
      const declined = newRequest();
      expect(await keys.run(declined, async () => refused('declined'))).toEqual(refused('declined'));
      expect(await keys.run(declined, second)).toEqual(done(answer('second')));

      const lost = { outcome: 'unknown' as const };
      const unknown = newRequest();
      expect(await keys.run(unknown, async () => lost)).toEqual(lost);
      expect(await keys.run(unknown, second)).toEqual(inProgress);
      await opened.endLease(idOf(unknown));
      expect(await keys.run(unknown, second)).toEqual(done(answer('second')));

      const thrown = newRequest();
      await expect(keys.run(thrown, () => Promise.reject(new TypeError('a bug')))).rejects.toThrow(TypeError);
      expect(await keys.run(thrown, second)).toEqual(inProgress);
      await opened.endLease(idOf(thrown));
      expect(await keys.run(thrown, second)).toEqual(done(answer('second')));
    });

    test('the policy decides otherwise where it is told to', async () => {
      const stripe = open(store, { policy: { answered: () => 'store' } }).keys;
      const failed = newRequest();
      await stripe.run(failed, async () => done(answer('oops', { status: 500 })));
      expect(await replayOf(failed)).toMatchObject({ status: 500, body: 'oops' });

      const trusting = open(store, { policy: { threw: () => 'release' } }).keys;
      const thrown = newRequest();
      await expect(trusting.run(thrown, () => Promise.reject(new Error('no effect')))).rejects.toThrow(
        'no effect',
      );
      expect(await trusting.run(thrown, second)).toEqual(done(answer('second')));
    });

    test('when its retention is over it is free, for any payload, and for sweeping', async () => {
      const { keys } = open(store);
      const request = newRequest();
      await keys.run(request, async () => done(answer('first')));
      await opened.endRetention(idOf(request));
      expect(await store.read(idOf(request))).toBeUndefined();
      const again = { ...request, payload: 'other' };
      expect(await keys.run(again, async ({ attempt }) => done(answer(`attempt ${attempt}`)))).toEqual(
        done(answer('attempt 1')),
      );
      expect((await replayOf(again)).body).toBe('attempt 1');
    });
  });

  describe('a handler that is stalled past its lease', () => {
    const stalled = { renewForMs: 0 };

    test('a successor runs, its answer is the one that all get, the late one included', async () => {
      const { keys, kinds } = open(store, stalled);
      const request = newRequest();
      const late = heldWork(answer('late'));
      const first = keys.run(request, late.work);
      await late.begun;
      await opened.endLease(idOf(request));

      expect(await open(store).keys.run(request, async () => done(answer('successor')))).toEqual(
        done(answer('successor')),
      );
      late.end();
      const outcome = await first;
      expect(outcome).toMatchObject({ outcome: 'done', replayed: true });
      if (outcome.outcome === 'done') expect(shown(outcome.value)).toEqual(shown(answer('successor')));
      expect(kinds()).toEqual(['lease-lost']);
      expect(await replayOf(request)).toEqual(shown(answer('successor')));
    });

    test('while the successor is still at work, the late one’s outcome is unknown, and resolves to the successor’s', async () => {
      const { keys } = open(store, stalled);
      const request = newRequest();
      const late = heldWork(answer('late'));
      const first = keys.run(request, late.work);
      await late.begun;
      await opened.endLease(idOf(request));
      const successor = heldWork(answer('successor'));
      const second = open(store).keys.run(request, successor.work);
      await successor.begun;
      late.end();
      const outcome = await first;
      if (outcome.outcome !== 'unknown') throw new Error(outcome.outcome);
      expect(await outcome.resolve()).toMatchObject({ outcome: 'unknown' });
      expect(await open(store).keys.run(request, NEVER_RUNS)).toEqual(inProgress);
      successor.end();
      expect(await second).toEqual(done(answer('successor')));
      const resolved = await outcome.resolve();
      if (resolved.outcome !== 'done') throw new Error(resolved.outcome);
      expect(shown(resolved.value)).toEqual(shown(answer('successor')));
    });

    test('its late refusal does not give the successor’s key away, nor does a late renewal prolong it', async () => {
      const { keys, kinds } = open(store, stalled);
      const request = newRequest();
      const lateRuns = barrier(2);
      const lateEnds = barrier(2);
      const first = keys.run(request, async () => {
        await lateRuns();
        await lateEnds();
        return refused('declined');
      });
      await lateRuns();
      const { owner } = (await store.read(idOf(request))) ?? { owner: '' };
      await opened.endLease(idOf(request));
      const successor = heldWork(answer('successor'));
      const second = open(store).keys.run(request, successor.work);
      await successor.begun;
      await lateEnds();
      expect(await first).toEqual(refused('declined'));
      expect(kinds()).toEqual(['lease-lost']);
      expect(await store.renew(idOf(request), owner, { leaseMs: 1, retentionMs: 1 })).toBe(false);
      expect(await open(store).keys.run(request, NEVER_RUNS)).toEqual(inProgress);
      successor.end();
      expect(await second).toEqual(done(answer('successor')));
    });

    test('it is told through its signal as soon as it can be known', async () => {
      const { keys, events } = open(store, { leaseMs: 300 });
      const request = newRequest();
      const begun = barrier(2);
      const first = keys.run(request, async ({ signal }) => {
        await begun();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return signal.reason instanceof LeaseLostError ? refused('fenced') : done(answer('never told'));
      });
      await begun();
      // Forgotten, as by a Redis that restarts empty: the next renewal finds nothing.
      await opened.endRetention(idOf(request));
      expect(await first).toEqual(refused('fenced'));
      expect(events[0]).toMatchObject({ kind: 'lease-lost', key: request.key, scope: request.scope });
    });
  });

  test('work that takes longer than its lease is renewed, and nobody else runs', async () => {
    const { keys, events } = open(store, { leaseMs: 600 });
    const request = newRequest();
    const held = heldWork(answer('slow'));
    const first = keys.run(request, held.work);
    await held.begun;
    const begunMs = performance.now();
    // For more than twice the lease everybody is refused.
    await until(async () => {
      expect(await keys.run(request, NEVER_RUNS)).toEqual(inProgress);
      return performance.now() - begunMs > 1_500;
    });
    held.end();
    expect(await first).toEqual(done(answer('slow')));
    expect(events).toEqual([]);
  });

  test('renewal ends after renewForMs: a handler that hangs does not keep its key for ever', async () => {
    const { keys, kinds } = open(store, { leaseMs: 100, renewForMs: 200 });
    const request = newRequest();
    const hung = heldWork(answer('hung'));
    const first = keys.run(request, hung.work);
    await hung.begun;
    const second = open(store, { waitMs: 20_000 }).keys.run(request, async ({ attempt }) =>
      done(answer(`attempt ${attempt}`)),
    );
    expect(await second).toEqual(done(answer('attempt 2')));
    hung.end();
    expect(await first).toMatchObject({ outcome: 'done', replayed: true });
    expect(kinds()).toContain('lease-lost');
  });

  test('who asks while it runs is told how long the lease still is', async () => {
    const { keys } = open(store, { leaseMs: 60_000 });
    const request = newRequest();
    const held = heldWork(answer('x'));
    const first = keys.run(request, held.work);
    await held.begun;
    const outcome = await keys.run(request, NEVER_RUNS);
    if (outcome.outcome !== 'refused' || outcome.reason !== 'in-progress') throw new Error(outcome.outcome);
    expect(outcome.retryAfterMs).toBeGreaterThan(30_000);
    expect(outcome.retryAfterMs).toBeLessThanOrEqual(60_000);
    held.end();
    await first;
  });

  test('every step but the claim shows its owner, and a record that is done is never written again', async () => {
    const [me, other] = ['8a2c7b6e-0000-4000-8000-000000000001', '8a2c7b6e-0000-4000-8000-000000000002'];
    const request = newRequest();
    const id = idOf(request);
    const times = { leaseMs: 60_000, retentionMs: 86_400_000 };
    const claim = { ...id, mode: 'leased', fingerprint: 'ab'.repeat(32), owner: me, ...times } as const;
    const first = { ...answer('first'), headers: {} };
    const forged = { ...answer('forged'), headers: {} };
    expect(await store.claim(claim)).toEqual({ claimed: true, attempt: 1 });
    expect(await store.claim({ ...claim, owner: other })).toMatchObject({
      claimed: false,
      record: { owner: me },
    });

    expect(await store.renew(id, other, times)).toBe(false);
    expect(await store.complete(id, other, forged, 1_000)).toBe(false);
    expect(await store.release(id, other)).toBe(false);
    expect(await store.read(id)).toMatchObject({ owner: me, answer: undefined, attempt: 1, mode: 'leased' });

    expect(await store.renew(id, me, times)).toBe(true);
    expect(await store.complete(id, me, first, times.retentionMs)).toBe(true);
    expect(await store.complete(id, me, forged, times.retentionMs)).toBe(false);
    expect(await store.renew(id, me, times)).toBe(false);
    expect(await store.release(id, me)).toBe(false);
    const record = await store.read(id);
    expect(record?.answer && shown(record.answer)).toEqual(shown(first));
    await opened.endLease(id);
    expect(await store.claim({ ...claim, owner: other })).toMatchObject({ claimed: false });
  });

  test('a released key is as free as before', async () => {
    const request = newRequest();
    const before = await opened.records();
    await open(store).keys.run(request, async () => refused('declined'));
    expect(await store.read(idOf(request))).toBeUndefined();
    if (name !== 'memory') expect(await opened.records()).toBe(before);
  });
});

describe.each(['postgres', 'mariadb', 'mariadb-snapshot'] as const)(
  'in a transaction of the caller’s, %s',
  (name) => {
    let opened: OpenSqlIdempotencyStore;

    beforeAll(async () => {
      opened = await openSqlIdempotencyStore(name);
      await opened.database.query('CREATE TABLE bill (bill_key varchar(50))');
    });

    afterAll(() => opened.close());

    const bills = async ({ key }: IdempotentRequest) => {
      const { rows } = await opened.database.query('SELECT 1 AS one FROM bill WHERE bill_key = ?', key);
      return rows.length;
    };

    function openSql(options: IdempotencyKeyOptions = {}) {
      const store = opened.store as ReturnType<typeof import('../src/index.ts').sqlIdempotencyStore>;
      const events: IdempotencyEvent[] = [];
      return { events, keys: idempotencyKeys(store, { ...options, onEvent: (event) => events.push(event) }) };
    }

    const insertBill = (request: IdempotentRequest) =>
      opened.database.statement('INSERT INTO bill VALUES (?)', request.key);

    test('the answer and the business row commit together', async () => {
      const { keys } = openSql();
      const request = newRequest();
      const outcome = await keys.run(request, (lease) =>
        transact(opened.sql, async (transaction) => {
          await transaction.execute(insertBill(request));
          return lease.completeIn(transaction, answer('bill'));
        }),
      );
      expect(outcome).toEqual(done(answer('bill')));
      expect(await bills(request)).toBe(1);
      const replay = await keys.run(request, NEVER_RUNS);
      expect(replay).toMatchObject({ outcome: 'done', replayed: true });
    });

    test('what rolls back after it leaves neither, and the key is released with the refusal', async () => {
      const { keys, events } = openSql();
      const request = newRequest();
      const outcome = await keys.run(request, (lease) =>
        transact(opened.sql, async (transaction) => {
          await transaction.execute(insertBill(request));
          await lease.completeIn(transaction, answer('bill'));
          return refused('wrong-state');
        }),
      );
      expect(outcome).toEqual(refused('wrong-state'));
      expect(await bills(request)).toBe(0);
      expect(events).toEqual([]);
      expect(await keys.run(request, async () => done(answer('again')))).toEqual(done(answer('again')));
    });

    test('a stalled one rolls its business row back, and its caller gets the successor’s answer', async () => {
      const { keys, events } = openSql({ renewForMs: 0 });
      const request = newRequest();
      const lateRuns = barrier(2);
      const lateGoesOn = barrier(2);
      const pay = (text: string, before = async () => undefined as unknown) =>
        keys.run(request, (lease) =>
          transact(opened.sql, async (transaction) => {
            await before();
            await transaction.execute(insertBill(request));
            return lease.completeIn(transaction, answer(text));
          }),
        );
      const first = pay('late', async () => {
        await lateRuns();
        await lateGoesOn();
      });
      await lateRuns();
      await opened.endLease(idOf(request));
      expect(await pay('successor')).toEqual(done(answer('successor')));
      await lateGoesOn();
      const outcome = await first;
      expect(outcome).toMatchObject({ outcome: 'done', replayed: true });
      if (outcome.outcome === 'done') expect(shown(outcome.value)).toEqual(shown(answer('successor')));
      expect(await bills(request)).toBe(1);
      expect(events.map(({ kind }) => kind)).toEqual(['lease-lost']);
    });

    test('so does one whose transaction would commit whatever its work resolves with', async () => {
      const { keys } = openSql({ renewForMs: 0 });
      const request = newRequest();
      const lateRuns = barrier(2);
      const lateGoesOn = barrier(2);
      const first = keys.run(request, (lease) =>
        opened.sql.transaction(async (transaction) => {
          await transaction.execute(insertBill(request));
          await lateRuns();
          await lateGoesOn();
          return lease.completeIn(transaction, answer('late'));
        }),
      );
      await lateRuns();
      await opened.endLease(idOf(request));
      await keys.run(request, async () => done(answer('successor')));
      await lateGoesOn();
      const outcome = await first;
      if (outcome.outcome !== 'done') throw new Error(outcome.outcome);
      expect(shown(outcome.value)).toEqual(shown(answer('successor')));
      expect(await bills(request)).toBe(0);
    });

    test('after a rollback, a lost lease is told at the next renewal', async () => {
      const { keys, events } = openSql({ leaseMs: 300 });
      const request = newRequest();
      const successor = { ...idOf(request), mode: 'leased', fingerprint: '0'.repeat(64) } as const;
      await keys.run(request, async (lease) => {
        const failing = transact(opened.sql, async (transaction) => {
          await lease.completeIn(transaction, answer('rolled back'));
          throw new StoreError('DEADLOCK', 'none', 'at the commit');
        });
        await expect(failing).rejects.toThrow(StoreError);
        const { owner } = (await opened.store.read(idOf(request))) ?? { owner: '' };
        await opened.store.release(idOf(request), owner);
        const times = { leaseMs: 60_000, retentionMs: 60_000 };
        await opened.store.claim({ ...successor, owner: '8a2c7b6e-0000-4000-8000-000000000003', ...times });
        await new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
        return refused('contended');
      });
      expect(events.map(({ kind }) => kind)).toEqual(['lease-lost']);
    });

    test('one that was committed and is tried again is its own answer, and nobody is told of a loss', async () => {
      const { keys, events } = openSql();
      const request = newRequest();
      const outcome = await keys.run(request, async (lease) => {
        const pay = () =>
          transact(opened.sql, async (transaction) => {
            await transaction.execute(insertBill(request));
            return lease.completeIn(transaction, answer('bill'));
          });
        await pay();
        return pay();
      });
      expect(outcome).toMatchObject({ outcome: 'done', replayed: false });
      expect(await bills(request)).toBe(1);
      expect(events).toEqual([]);
    });

    test('inside the transaction that completes it, its end does not wait for ever', async () => {
      const { keys, events } = openSql({ leaseMs: 300 });
      const request = newRequest();
      const outcome = await transact(opened.sql, (transaction) =>
        keys.run(request, async (lease) => {
          await lease.completeIn(transaction, answer('x'));
          return refused('declined');
        }),
      );
      expect(outcome).toEqual(refused('declined'));
      expect(events.map(({ kind }) => kind)).toContain('not-released');
    });

    test('a duplicate that meets an expired record which somebody holds is refused, and may wait for it', async () => {
      const request = newRequest();
      await openSql().keys.run(request, async () => done(answer('old')));
      await opened.endRetention(idOf(request));
      const holder = await opened.database.connect();
      await holder.begin('READ COMMITTED');
      const { scope, key } = idOf(request);
      const text = 'UPDATE pawl_idempotency_key SET attempt = 7 WHERE scope = ? AND idempotency_key = ?';
      await holder.query(text, scope, key);
      expect(await openSql().keys.run(request, NEVER_RUNS)).toEqual({
        ...refused('in-progress'),
        retryAfterMs: 0,
      });
      const waiting = openSql({ waitMs: 20_000 }).keys.run(request, async () => done(answer('new')));
      await holder.query('ROLLBACK');
      expect(await waiting).toEqual(done(answer('new')));
    });

    test('a claim that had to wait for a connection is renewed before the work begins', async () => {
      const single = opened.database.open({ connections: 1 });
      const keys = idempotencyKeys(sqlIdempotencyStore(single), { leaseMs: 400 });
      const request = newRequest();
      const connected = barrier(2);
      const released = barrier(2);
      const busy = single.transaction(async () => {
        await connected();
        await released();
      });
      await connected();
      const running = keys.run(request, async ({ signal }) => {
        const { leaseLeftMs } = (await opened.store.read(idOf(request))) ?? { leaseLeftMs: 0 };
        return done(answer(`${signal.aborted} ${leaseLeftMs > 0}`));
      });
      // The lease that the claim asks for would be over by the time that it can be sent.
      await new Promise((resolve) => setTimeout(resolve, 500));
      await released();
      await busy;
      expect(await running).toEqual(done(answer('false true')));
    });

    test('without the owner’s check, the stalled one’s row stays beside its successor’s', async () => {
      const request = newRequest();
      for (const _ of ['successor', 'late']) {
        await transact(opened.sql, async (transaction) => {
          await transaction.execute(insertBill(request));
          return done(undefined);
        });
      }
      expect(await bills(request)).toBe(2);
    });

    test('while the record is being completed, duplicates and takers are refused at once instead of waiting', async () => {
      const { keys } = openSql();
      const request = newRequest();
      const completed = barrier(2);
      const commits = barrier(2);
      const first = keys.run(request, (lease) =>
        transact(opened.sql, async (transaction) => {
          const outcome = await lease.completeIn(transaction, answer('first'));
          await completed();
          await commits();
          return outcome;
        }),
      );
      await completed();
      expect(await keys.run(request, NEVER_RUNS)).toEqual(inProgress);
      await commits();
      expect(await first).toEqual(done(answer('first')));
      expect(await keys.run(request, NEVER_RUNS)).toMatchObject({ outcome: 'done', replayed: true });
    });

    test('a lease that ends while the record is being completed is not taken: the holder’s transaction decides', async () => {
      const { keys } = openSql({ leaseMs: 100, renewForMs: 0 });
      const request = newRequest();
      const completed = barrier(2);
      const commits = barrier(2);
      const first = keys.run(request, (lease) =>
        transact(opened.sql, async (transaction) => {
          const outcome = await lease.completeIn(transaction, answer('first'));
          await completed();
          await commits();
          return outcome;
        }),
      );
      await completed();
      await until(async () => ((await opened.store.read(idOf(request)))?.leaseLeftMs ?? 0) <= 0);
      expect(await keys.run(request, NEVER_RUNS)).toEqual({ ...refused('in-progress'), retryAfterMs: 0 });
      await commits();
      expect(await first).toEqual(done(answer('first')));
    });

    test('a renewal that comes while the record is being completed does not pass for a lost lease', async () => {
      const { keys, events } = openSql({ leaseMs: 90 });
      const request = newRequest();
      let aborted = false;
      const outcome = await keys.run(request, (lease) =>
        transact(opened.sql, async (transaction) => {
          lease.signal.addEventListener('abort', () => {
            aborted = true;
          });
          const stored = await lease.completeIn(transaction, answer('x'));
          await until(async () => (await opened.database.waitingForLocks()) > 0);
          return stored;
        }),
      );
      expect(outcome).toEqual(done(answer('x')));
      expect(await opened.store.read(idOf(request))).toMatchObject({ attempt: 1 });
      expect([aborted, events]).toEqual([false, []]);
    });

    test('a transaction that is tried again after a conflict completes once', async () => {
      const { keys } = openSql();
      const request = newRequest();
      const outcome = await keys.run(request, async (lease) => {
        const pay = (fails: boolean) =>
          transact(opened.sql, async (transaction) => {
            await transaction.execute(insertBill(request));
            const stored = await lease.completeIn(transaction, answer('bill'));
            if (fails) throw new StoreError('DEADLOCK', 'none', 'at the commit');
            return stored;
          });
        await expect(pay(true)).rejects.toThrow(StoreError);
        return pay(false);
      });
      expect(outcome).toEqual(done(answer('bill')));
      expect(await bills(request)).toBe(1);
    });

    test('an answer that differs from what was stored and rolled back is stored in its place', async () => {
      const { keys } = openSql();
      const request = newRequest();
      await keys.run(request, async (lease) => {
        await transact(opened.sql, async (transaction) => {
          await lease.completeIn(transaction, answer('rolled back'));
          return refused('wrong-state');
        });
        return done(answer('other'));
      });
      const replay = await keys.run(request, NEVER_RUNS);
      if (replay.outcome !== 'done') throw new Error(replay.outcome);
      expect(shown(replay.value)).toEqual(shown(answer('other')));
    });

    test('sweeping forgets what is over, a limited number at a time, and nothing else', async () => {
      const { keys } = openSql();
      const kept = newRequest();
      await keys.run(kept, async () => done(answer('kept')));
      const old = Array.from({ length: 5 }, () => newRequest());
      for (const request of old) {
        await keys.run(request, async () => done(answer('old')));
        await opened.endRetention(idOf(request));
      }
      const before = await opened.records();
      expect(await keys.sweep(2)).toBe(2);
      expect(await opened.records()).toBe(before - 2);
      expect(await keys.sweep()).toBe(3);
      expect(await keys.sweep()).toBe(0);
      expect(await keys.run(kept, NEVER_RUNS)).toMatchObject({ replayed: true });
      await expect(keys.sweep(0)).rejects.toThrow(MisuseError);
    });
  },
);

describe('drivers that are told to read values in another way', () => {
  test('pg, booleans and numbers as text: the same outcomes', async () => {
    const opened = await openSqlIdempotencyStore('postgres');
    const asText = [pg.types.builtins.BOOL, pg.types.builtins.INT4, pg.types.builtins.NUMERIC];
    const types = {
      getTypeParser: ((oid: number, format: 'text') =>
        asText.includes(oid) ? (value: string) => value : pg.types.getTypeParser(oid, format)) as never,
    };
    const pool = new pg.Pool({ connectionString: opened.database.url, max: 20, types });
    try {
      const { keys } = open(sqlIdempotencyStore(pgPort(pool)), { waitMs: 20_000 });
      const request = newRequest();
      let runs = 0;
      await together(20, () =>
        keys.run(request, async () => {
          runs++;
          return done(answer('x'));
        }),
      );
      expect(runs).toBe(1);
      await opened.endRetention(idOf(request));
      expect(await keys.run(request, async () => done(answer('y')))).toEqual(done(answer('y')));
    } finally {
      await pool.end();
      await opened.close();
    }
  });

  test('pg, bytes as text: a misuse, and no answer of other bytes', async () => {
    const opened = await openSqlIdempotencyStore('postgres');
    const types = { getTypeParser: (() => (value: string) => value) as never };
    const pool = new pg.Pool({ connectionString: opened.database.url, max: 2, types });
    try {
      const { keys } = open(sqlIdempotencyStore(pgPort(pool)));
      const request = newRequest();
      await keys.run(request, async () => done(answer('x')));
      await expect(keys.run(request, NEVER_RUNS)).rejects.toThrow(MisuseError);
    } finally {
      await pool.end();
      await opened.close();
    }
  });

  test.each([
    ['latin1', 'latin1_swedish_ci', 'schlüssel Ω'],
    // It has no cases, so that digits come as the server writes them.
    ['binary', 'binary', 'key'],
  ])('mysql2, a connection in %s: headers come back as they were', async (_, charset, key) => {
    const opened = await openSqlIdempotencyStore('mariadb');
    const pool = createPool({ uri: opened.database.url, charset });
    try {
      const limits = { acquireTimeoutMs: 5_000, queryTimeoutMs: 5_000 };
      const { keys } = open(sqlIdempotencyStore(mysql2Port(pool, limits)));
      const headers = { location: '/\u{1f600}/Ω/“x”/ü/\\u0041' };
      const request = newRequest({ key });
      await keys.run(request, async () => done(answer('x', { headers })));
      expect(await keys.run(request, NEVER_RUNS)).toMatchObject({ replayed: true, value: { headers } });
    } finally {
      await pool.promise().end();
      await opened.close();
    }
  });
});

describe.each(['postgres', 'mariadb'] as const)('sessions that are stricter by default, %s', (name) => {
  test.each(['REPEATABLE READ', 'SERIALIZABLE'] as const)(
    '%s: one runs, and nobody fails',
    async (isolation) => {
      const opened = await openSqlIdempotencyStore(name);
      try {
        const settings = opened.database.defaultIsolation(isolation);
        const strict = opened.database.open({ connections: 20, settings });
        const { keys } = open(sqlIdempotencyStore(strict), { waitMs: 20_000 });
        for (let burst = 0; burst < 5; burst++) {
          const request = newRequest();
          let runs = 0;
          const outcomes = await together(20, () =>
            keys.run(request, async () => {
              runs++;
              return done(answer('x'));
            }),
          );
          expect(runs).toBe(1);
          expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(20);
        }
      } finally {
        await opened.close();
      }
    },
  );
});

describe('a store that fails', () => {
  const lostConnection = () => Promise.reject(new StoreError('CONNECTION_LOST', 'unknown', 'cut'));
  const unavailable = () => Promise.reject(new StoreError('UNAVAILABLE', 'none', 'down'));

  test('at the claim: nothing runs', async () => {
    for (const claim of [lostConnection, unavailable]) {
      const { keys } = open({ ...memoryIdempotencyStore(), claim });
      await expect(keys.run(newRequest(), NEVER_RUNS)).rejects.toThrow(StoreError);
    }
  });

  test('a claim that meets a locked record is refused, not failed', async () => {
    const claim = () => Promise.reject(new StoreError('LOCK_TIMEOUT', 'none', 'locked'));
    const { keys } = open({ ...memoryIdempotencyStore(), claim });
    expect(await keys.run(newRequest(), NEVER_RUNS)).toEqual(inProgress);
  });

  test('at the completion, for a moment: it is tried again, and stored', async () => {
    const store = memoryIdempotencyStore();
    let failures = 2;
    const { keys, events } = open({
      ...store,
      complete: (...args) => (failures-- > 0 ? unavailable() : store.complete(...args)),
    });
    const request = newRequest();
    expect(await keys.run(request, async () => done(answer('x')))).toEqual(done(answer('x')));
    expect(await keys.run(request, NEVER_RUNS)).toMatchObject({ replayed: true });
    expect(events).toEqual([]);
  });

  test('a completion whose answer is lost is not taken for a lost lease', async () => {
    const store = memoryIdempotencyStore();
    let lost = false;
    const { keys, events } = open({
      ...store,
      async complete(...args) {
        const completed = await store.complete(...args);
        if (lost) return completed;
        lost = true;
        return lostConnection();
      },
    });
    const given = answer('x', { headers: { 'set-cookie': 'session=1' } });
    // With all its headers, since it is the first one's own.
    expect(await keys.run(newRequest(), async () => done(given))).toEqual(done(given));
    expect(events).toEqual([]);
  });

  test('at the completion, for good: the outcome stands, and somebody is told', async () => {
    const { keys, kinds } = open({ ...memoryIdempotencyStore(), complete: unavailable }, { leaseMs: 100 });
    expect(await keys.run(newRequest(), async () => done(answer('x')))).toEqual(done(answer('x')));
    expect(kinds()).toEqual(['not-stored']);
  });

  test('at the release: the refusal stands, and somebody is told', async () => {
    const { keys, kinds } = open({ ...memoryIdempotencyStore(), release: lostConnection });
    expect(await keys.run(newRequest(), async () => refused('declined'))).toEqual(refused('declined'));
    expect(kinds()).toEqual(['not-released']);
  });

  test('at the renewals: it is told, and the lease counts as lost when it could not be confirmed', async () => {
    const { keys, kinds } = open({ ...memoryIdempotencyStore(), renew: unavailable }, { leaseMs: 60 });
    const outcome = await keys.run(newRequest(), async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return refused('fenced');
    });
    expect(outcome).toEqual(refused('fenced'));
    expect(kinds()).toContain('renewal-failed');
    expect(kinds()).toContain('lease-lost');
  });

  test('silently, at a renewal: the lease counts as lost all the same', async () => {
    const silent = () => new Promise<boolean>(() => undefined);
    const { keys, kinds } = open({ ...memoryIdempotencyStore(), renew: silent }, { leaseMs: 60 });
    await keys.run(newRequest(), async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return refused('fenced');
    });
    expect(kinds()).toEqual(['lease-lost']);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('a bug in the listener');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a bug in the listener'))],
  ])('a listener that %s changes nothing', async (_, onEvent) => {
    const store = { ...memoryIdempotencyStore(), complete: unavailable };
    const keys = idempotencyKeys(store, { onEvent, leaseMs: 100 });
    expect(await keys.run(newRequest(), async () => done(answer('x')))).toEqual(done(answer('x')));
    // An unhandled rejection would fail the run.
    await new Promise((resolve) => setImmediate(resolve));
  });

  test('when who has the key cannot be read, a fenced one’s outcome is unknown, and resolves when it can', async () => {
    const memory = memoryIdempotencyStore();
    let down = true;
    const store: SqlIdempotencyStore = {
      ...memory,
      read: (id) => (down ? unavailable() : memory.read(id)),
      within: () => ({ ...memory, complete: async () => false }),
    };
    const transaction = {} as SqlTransaction;
    const keys = idempotencyKeys(store);
    const outcome = await keys.run(newRequest(), (lease) => lease.completeIn(transaction, answer('late')));
    if (outcome.outcome !== 'unknown') throw new Error(outcome.outcome);
    expect(await outcome.resolve()).toMatchObject({ outcome: 'unknown' });
    down = false;
    expect(await outcome.resolve()).toEqual(inProgress);
  });

  test('a lease that is lost is told once', async () => {
    const store = memoryIdempotencyStore();
    const { keys, kinds } = open({ ...store, renew: async () => false }, { leaseMs: 60 });
    const request = newRequest();
    await keys.run(request, async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      const { owner } = (await store.read(idOf(request))) ?? { owner: '' };
      await store.release(idOf(request), owner);
      return refused('declined');
    });
    expect(kinds()).toEqual(['lease-lost']);
  });
});

describe('settings', () => {
  test.each([
    ['a lease of 0', { leaseMs: 0 }],
    ['a fraction', { leaseMs: 1.5 }],
    ['no number', { leaseMs: Number.NaN }],
    ['text', { leaseMs: '5s' as never }],
    ['longer than a timer', { leaseMs: 2 ** 31, retentionMs: 2 ** 40 }],
    ['a negative wait', { waitMs: -1 }],
    ['a retention shorter than the lease', { leaseMs: 2_000, retentionMs: 1_000 }],
    ['Set-Cookie on the list', { storedHeaders: ['content-type', 'Set-Cookie'] }],
    ['Authorization on the list', { storedHeaders: ['AUTHORIZATION'] }],
  ])('%s is refused at once', (_, options) => {
    expect(() => idempotencyKeys(memoryIdempotencyStore(), options)).toThrow(MisuseError);
  });

  test('one that is given as undefined is the default', async () => {
    const { keys } = open(memoryIdempotencyStore(), {
      leaseMs: undefined as never,
      waitMs: undefined as never,
    });
    expect(await keys.run(newRequest(), async () => done(answer('x')))).toEqual(done(answer('x')));
  });

  test.each([undefined, null, { amount: 1 }, new ArrayBuffer(1)])(
    'a payload that is no bytes is a misuse: %s',
    async (payload) => {
      const { keys } = open(memoryIdempotencyStore());
      await expect(keys.run(newRequest({ payload: payload as never }), NEVER_RUNS)).rejects.toThrow(
        MisuseError,
      );
    },
  );

  test('an answer that is none is a misuse, and its key stays taken: the work has run', async () => {
    const { keys } = open(memoryIdempotencyStore());
    const bad = [{ status: 0 }, { status: 1_000 }, { status: 200.5 }, { body: 'text' as never }];
    const answers = [...bad.map((part) => answer('x', part)), undefined as never, 'text' as never];
    for (const given of answers) {
      const request = newRequest();
      await expect(keys.run(request, async () => done(given))).rejects.toThrow(MisuseError);
      expect(await keys.run(request, NEVER_RUNS)).toEqual(inProgress);
    }
  });

  test('a policy is asked as it is given: an object of a class, with a part of it', async () => {
    class Stripe {
      answered() {
        return 'store' as const;
      }
    }
    for (const policy of [new Stripe(), { answered: () => 'store' as const, threw: undefined as never }]) {
      const { keys } = open(memoryIdempotencyStore(), { policy });
      const request = newRequest();
      await keys.run(request, async () => done(answer('x', { status: 500 })));
      expect(await keys.run(request, NEVER_RUNS)).toMatchObject({ outcome: 'done', replayed: true });
      await expect(keys.run(newRequest(), NEVER_RUNS)).rejects.toThrow('the work ran');
    }
  });

  test('headers on a list of one’s own', async () => {
    const { keys } = open(memoryIdempotencyStore(), { storedHeaders: ['X-Order'] });
    const request = newRequest();
    await keys.run(request, async () => done(answer('x', { headers: { 'x-order': '7', location: '/a' } })));
    const replay = await keys.run(request, NEVER_RUNS);
    expect(replay).toMatchObject({ value: { headers: { 'x-order': '7' } } });
    if (replay.outcome === 'done') expect(Object.keys(replay.value.headers ?? {})).toEqual(['x-order']);
  });
});

test('one long record does not keep the memory from forgetting the others', async () => {
  let nowMs = 0;
  const store = memoryIdempotencyStore({ nowMs: () => nowMs });
  const forTimes = (retentionMs: number) => idempotencyKeys(store, { leaseMs: 1, retentionMs });
  await forTimes(1_000_000).run(newRequest(), async () => done(answer('long')));
  for (let count = 0; count < 100; count++) {
    nowMs += 1;
    await forTimes(10).run(newRequest(), async () => done(answer('short')));
  }
  nowMs += 100;
  expect(await store.sweep(5)).toBe(5);
  expect(await store.sweep(10_000)).toBeLessThan(20);
  expect(await store.sweep(10_000)).toBe(0);
  await expect(store.sweep(0)).rejects.toThrow(MisuseError);
});

test('the memory of a process does not keep what is over', async () => {
  let nowMs = 0;
  const store = memoryIdempotencyStore({ nowMs: () => nowMs });
  const keys = idempotencyKeys(store, { leaseMs: 10, retentionMs: 10 });
  for (let count = 0; count < 1_000; count++) {
    nowMs += 1;
    await keys.run(newRequest(), async () => done(answer('x')));
  }
  expect(await store.sweep(10_000)).toBeLessThan(20);
});
