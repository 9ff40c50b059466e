import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  done,
  idempotencyKeys,
  memoryIdempotencyStore,
  type SqlPort,
  sqlIdempotencyStore,
  transact,
  transactionalIdempotencyKeys,
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
const [FIRST, SECOND, LATE] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [
  string,
  string,
  string,
];
const TIMES = { leaseMs: 600_000, retentionMs: 86_400_000 };
const GIVEN = { ...answer('first'), headers: {} };

/** A claim of a record that nobody has yet. */
function newClaim(owner: string) {
  const id = idOf(newRequest());
  return { id, claim: { ...id, mode: 'leased', fingerprint: 'ab'.repeat(32), owner, ...TIMES } as const };
}

describe.each(idempotencyStores)('%s', (name) => {
  let opened: OpenIdempotencyStore;

  beforeAll(async () => {
    opened = await openIdempotencyStore(name);
  });

  afterAll(() => opened.close());

  test('of 50 who find a lease over at once, one takes the work over', async () => {
    const { store } = opened;
    const request = newRequest();
    const crashed = idempotencyKeys(store).run(request, () => Promise.reject(new Error('crash')));
    await expect(crashed).rejects.toThrow('crash');
    await opened.endLease(idOf(request));
    // Every connection is there, so that nobody is first because the others still connect.
    await together(RACERS, () => store.read(idOf(request)));
    let runs = 0;
    const everybodyElseAnswered = barrier(RACERS);
    const outcomes = await together(RACERS, async () => {
      const outcome = await idempotencyKeys(store).run(request, async ({ attempt }) => {
        runs++;
        await everybodyElseAnswered();
        return done(answer(`attempt ${attempt}`));
      });
      if (outcome.outcome === 'refused') void everybodyElseAnswered();
      return outcome;
    });
    expect(runs).toBe(1);
    expect(outcomes.filter(({ outcome }) => outcome === 'done')).toEqual([done(answer('attempt 2'))]);
  });

  test('a stalled one whose key is somebody else’s by now is not given the answer to another payload', async () => {
    const kinds: string[] = [];
    const request = newRequest();
    const begun = barrier(2);
    const goesOn = barrier(2);
    const late = idempotencyKeys(opened.store, {
      renewForMs: 0,
      onEvent: ({ kind }) => kinds.push(kind),
    }).run(request, async () => {
      await begun();
      await goesOn();
      return done(answer('late'));
    });
    await begun();
    await opened.endRetention(idOf(request));
    const other = { ...request, payload: 'other' };
    await idempotencyKeys(opened.store).run(other, async () => done(answer('to the other')));
    await goesOn();
    expect(await late).toEqual(done(answer('late')));
    expect(kinds).toEqual(['not-stored']);
  });
});

describe.each(['mariadb', 'mariadb-snapshot'] as const)('%s', (name) => {
  let opened: OpenSqlIdempotencyStore;

  beforeAll(async () => {
    opened = await openSqlIdempotencyStore(name);
  });

  afterAll(() => opened.close());

  /** Somebody who has found the lease over, and stands still before the transaction in which he takes it. */
  function stalledTaker(sql: SqlPort) {
    const found = Promise.withResolvers<void>();
    const goesOn = Promise.withResolvers<void>();
    const stalling: SqlPort = {
      ...sql,
      async transaction(work) {
        found.resolve();
        await goesOn.promise;
        return sql.transaction(work);
      },
    };
    return { store: sqlIdempotencyStore(stalling), found: found.promise, goOn: () => goesOn.resolve() };
  }

  test('without anybody in between, he takes it', async () => {
    const { id, claim } = newClaim(FIRST);
    await opened.store.claim(claim);
    await opened.endLease(id);
    const taker = stalledTaker(opened.sql);
    taker.goOn();
    expect(await taker.store.claim({ ...claim, owner: LATE })).toEqual({ claimed: true, attempt: 2 });
  });

  type Meanwhile = (
    id: ReturnType<typeof idOf>,
    claim: ReturnType<typeof newClaim>['claim'],
  ) => Promise<unknown>;

  test.each<[string, Meanwhile, object]>([
    [
      'its holder completes it after all',
      (id) => opened.store.complete(id, FIRST, GIVEN, TIMES.retentionMs),
      { claimed: false, record: { owner: FIRST, answer: { status: 200 } } },
    ],
    [
      'its holder renews it after all',
      (id) => opened.store.renew(id, FIRST, TIMES),
      { claimed: false, record: { owner: FIRST, answer: undefined } },
    ],
    [
      'another takes it over',
      (_, claim) => opened.store.claim({ ...claim, owner: SECOND }),
      { claimed: false, record: { owner: SECOND, attempt: 2 } },
    ],
    [
      'another takes it over, and is stalled past its lease too',
      async (id, claim) => {
        await opened.store.claim({ ...claim, owner: SECOND });
        await opened.endLease(id);
      },
      { claimed: true, attempt: 3 },
    ],
    ['its holder gives it back', (id) => opened.store.release(id, FIRST), { claimed: true, attempt: 1 }],
  ])('between his look and his takeover %s: he sees it', async (_, meanwhile, outcome) => {
    const { id, claim } = newClaim(FIRST);
    await opened.store.claim(claim);
    await opened.endLease(id);
    const taker = stalledTaker(opened.sql);
    const late = taker.store.claim({ ...claim, owner: LATE });
    await taker.found;
    await meanwhile(id, claim);
    taker.goOn();
    expect(await late).toMatchObject(outcome);
  });
});

describe.each(['postgres', 'mariadb', 'mariadb-snapshot'] as const)(
  'a record that somebody holds, %s',
  (name) => {
    let opened: OpenSqlIdempotencyStore;

    beforeAll(async () => {
      opened = await openSqlIdempotencyStore(name);
    });

    afterEach(() => opened.database.endSessions());
    afterAll(() => opened.close());

    test('of two who meet at the same record, at most one takes it over', async () => {
      const { store, database } = opened;
      const request = newRequest();
      const crashed = idempotencyKeys(store).run(request, () => Promise.reject(new Error('crash')));
      await expect(crashed).rejects.toThrow('crash');
      await opened.endLease(idOf(request));
      const holder = await database.connect();
      await holder.begin('READ COMMITTED');
      const { scope, key } = idOf(request);
      const text =
        'SELECT 1 AS one FROM pawl_idempotency_key WHERE scope = ? AND idempotency_key = ? FOR UPDATE';
      await holder.query(text, scope, key);
      let settled = 0;
      let runs = 0;
      const taking = together(2, async (taker) => {
        await idempotencyKeys(store).run(request, async () => {
          runs++;
          return done(answer(`taker ${taker}`));
        });
        settled++;
      });
      // Either they wait for the row, or they have been refused.
      await until(async () => (await database.waitingForLocks()) + settled === 2);
      await holder.query('ROLLBACK');
      await taking;
      expect(runs).toBeLessThanOrEqual(1);
    });

    test('of ten who wait for one whose retention is over, one takes it, and all others get his answer', async () => {
      const WAITERS = 10;
      const request = newRequest();
      const keys = transactionalIdempotencyKeys(opened.sql, { waitMs: 20_000 });
      await keys.run(request, async () => done(answer('old')));
      await opened.endRetention(idOf(request));
      const { scope, key } = idOf(request);
      const holder = await opened.database.connect();
      await holder.begin('READ COMMITTED');
      const lock =
        'SELECT owner FROM pawl_idempotency_key WHERE scope = ? AND idempotency_key = ? FOR UPDATE';
      await holder.query(lock, scope, key);
      let runs = 0;
      const waiting = together(WAITERS, () =>
        keys.run(request, async () => {
          runs++;
          return done(answer('new'));
        }),
      );
      await until(async () => (await opened.database.waitingForLocks()) === WAITERS);
      await holder.query('COMMIT');
      const outcomes = await waiting;
      expect(runs).toBe(1);
      expect(outcomes.filter((outcome) => outcome.outcome === 'done' && !outcome.replayed)).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.outcome !== 'done') throw new Error(outcome.outcome);
        expect(shown(outcome.value)).toEqual(shown(answer('new')));
      }
    });

    test('a lease that ends while its holder completes it is not said to be lost', async () => {
      const leaseMs = 90;
      const events: unknown[] = [];
      const keys = idempotencyKeys(sqlIdempotencyStore(opened.sql), {
        leaseMs,
        onEvent: (event) => events.push(event),
      });
      const outcome = await keys.run(newRequest(), ({ signal, completeIn }) =>
        transact(opened.sql, async (transaction) => {
          const completed = await completeIn(transaction, answer('x'));
          const completedMs = performance.now();
          await until(() => performance.now() - completedMs > 3 * leaseMs);
          expect(signal.aborted).toBe(false);
          return completed;
        }),
      );
      expect(outcome).toEqual(done(answer('x')));
      expect(events).toEqual([]);
    });
  },
);

describe.each(['postgres', 'mariadb'] as const)('the retention, %s', (name) => {
  const IN_AN_HOUR = {
    postgres: `clock_timestamp() + interval '1 hour'`,
    mysql: 'UTC_TIMESTAMP(6) + INTERVAL 1 HOUR',
  };
  const [SHORT, LONG] = [
    { leaseMs: 60_000, retentionMs: 60_000 },
    { leaseMs: 60_000, retentionMs: 86_400_000 },
  ];
  let opened: OpenSqlIdempotencyStore;

  beforeAll(async () => {
    opened = await openSqlIdempotencyStore(name);
  });

  afterAll(() => opened.close());

  async function isLong(id: ReturnType<typeof idOf>): Promise<boolean> {
    const text = `SELECT 1 AS one FROM pawl_idempotency_key
      WHERE scope = ? AND idempotency_key = ? AND expires_at > ${IN_AN_HOUR[opened.database.kind]}`;
    return (await opened.database.query(text, id.scope, id.key)).rows.length === 1;
  }

  test('begins anew with a renewal, and with the answer', async () => {
    for (const how of ['renewed', 'completed'] as const) {
      const { id, claim } = newClaim(FIRST);
      await opened.store.claim({ ...claim, ...SHORT });
      expect(await isLong(id)).toBe(false);
      if (how === 'renewed') await opened.store.renew(id, FIRST, LONG);
      else await opened.store.complete(id, FIRST, GIVEN, LONG.retentionMs);
      expect(await isLong(id), how).toBe(true);
    }
  });
});

test('who was stalled for longer than his lease sees it in the same turn, if he looks through the lease', async () => {
  const leaseMs = 200;
  const keys = idempotencyKeys(memoryIdempotencyStore(), { leaseMs });
  await keys.run(newRequest(), async (lease) => {
    expect(lease.signal.aborted).toBe(false);
    const endMs = performance.now() + 2 * leaseMs;
    while (performance.now() < endMs);
    expect(lease.signal.aborted).toBe(true);
    return done(answer('late'));
  });
});
