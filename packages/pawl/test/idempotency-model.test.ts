import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { thorough } from '../../../test/stores.ts';
import {
  done,
  type IdempotencyStore,
  type IdempotentOutcome,
  idempotencyKeys,
  memoryIdempotencyStore,
  refused,
  type StoredAnswer,
  StoreError,
  type WorkOutcome,
} from '../src/index.ts';
import { claimResult, SpecifiedKey } from './idempotency-specification.ts';
import {
  answer,
  idempotencyStores,
  idOf,
  newRequest,
  openIdempotencyStore,
  shown,
} from './idempotency-stores.ts';

// Pauses of the guard end at once: what passes here is the time of the schedule.
vi.mock('node:timers/promises', () => ({ setTimeout: () => Promise.resolve() }));

const LEASE_MS = 900;
const RETENTION_MS = 100_000;
const CLIENTS = 4;

/**
 * What becomes of a step towards the store: it is taken; the process dies before it or after it; it is taken and its answer is
 * lost; it fails without an effect.
 */
type Fate = 'taken' | 'dies-before' | 'dies-after' | 'answer-lost' | 'fails';

/** How the work of a client ends. */
type Ending = 'done' | 'refused' | 'unknown' | 'throws' | 'dies';

/** One choice of the schedule. What it picks among is counted at that moment, so a number is taken modulo that. */
type Choice =
  | { readonly do: 'start'; readonly client: number }
  | { readonly do: 'step'; readonly which: number; readonly fate: Fate }
  | { readonly do: 'end'; readonly which: number; readonly ending: Ending }
  | { readonly do: 'wait'; readonly ms: number };

const fates: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('taken' as const) },
  fc.constantFrom('dies-before' as const, 'dies-after' as const, 'answer-lost' as const, 'fails' as const),
);
const endings: fc.Arbitrary<Ending> = fc.oneof(
  { weight: 3, arbitrary: fc.constant('done' as const) },
  { weight: 2, arbitrary: fc.constant('refused' as const) },
  fc.constantFrom('unknown' as const, 'throws' as const, 'dies' as const),
);
const which = fc.nat({ max: 6 });
const choices: fc.Arbitrary<Choice> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('start' as const), client: fc.nat({ max: CLIENTS - 1 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('step' as const), which, fate: fates }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('end' as const), which, ending: endings }) },
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(100, LEASE_MS / 2, LEASE_MS + 1) }),
);
const schedules = fc.array(choices, { minLength: 1, maxLength: 40 });

interface Step {
  readonly client: number;
  go(fate: Fate): void;
}

interface Work {
  readonly client: number;
  end(ending: Ending): void;
}

interface Seen {
  readonly client: number;
  readonly outcome: IdempotentOutcome | { readonly outcome: 'refused' | 'unknown' | 'threw' };
  readonly notStored: boolean;
}

/** Lets every promise that can go on go on. */
const settle = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
};

/**
 * Runs clients of one key over `store` by a schedule, one step at a time, and checks after each what must hold. The clock, and
 * with it leases and renewals, stands still but for the schedule.
 */
class World {
  readonly #store: IdempotencyStore;
  readonly #specified = new SpecifiedKey(() => performance.now());
  readonly #request = newRequest();
  readonly #steps: Step[] = [];
  readonly #works: Work[] = [];
  readonly #started = new Set<number>();
  readonly #dead = new Set<number>();
  readonly #stored: StoredAnswer[] = [];
  readonly seen: Seen[] = [];
  runs = 0;

  constructor(store: IdempotencyStore) {
    this.#store = store;
  }

  async choose(choice: Choice): Promise<void> {
    switch (choice.do) {
      case 'start':
        this.#start(choice.client);
        break;
      case 'step': {
        const [step] = this.#steps.splice(choice.which % Math.max(1, this.#steps.length), 1);
        step?.go(choice.fate);
        break;
      }
      case 'end': {
        const [work] = this.#works.splice(choice.which % Math.max(1, this.#works.length), 1);
        work?.end(choice.ending);
        break;
      }
      case 'wait':
        vi.advanceTimersByTime(choice.ms);
    }
    await settle();
    this.#check();
  }

  /** Everybody alive comes to an end, and nobody dies any more. */
  async finish(): Promise<void> {
    while (this.#steps.length + this.#works.length > 0) {
      await this.choose({ do: 'step', which: 0, fate: 'taken' });
      await this.choose({ do: 'end', which: 0, ending: 'done' });
    }
    // Whoever died keeps the key no longer than the lease.
    vi.advanceTimersByTime(LEASE_MS + 1);
    const before = this.seen.length;
    await this.choose({ do: 'start', client: CLIENTS });
    await this.choose({ do: 'step', which: 0, fate: 'taken' });
    await this.choose({ do: 'end', which: 0, ending: 'done' });
    await this.choose({ do: 'step', which: 0, fate: 'taken' });
    expect(this.seen[before]?.outcome, 'a late client').toMatchObject({ outcome: 'done' });
  }

  #start(client: number): void {
    if (this.#started.has(client)) return;
    this.#started.add(client);
    let notStored = false;
    const keys = idempotencyKeys(this.#storeOf(client), {
      leaseMs: LEASE_MS,
      retentionMs: RETENTION_MS,
      onEvent: ({ kind }) => {
        notStored ||= kind === 'not-stored';
      },
    });
    const told = (outcome: Seen['outcome']) => {
      if (!this.#dead.has(client)) this.seen.push({ client, outcome, notStored });
    };
    keys.run(this.#request, () => this.#work(client)).then(told, () => told({ outcome: 'threw' }));
  }

  #work(client: number): Promise<WorkOutcome> {
    const run = ++this.runs;
    return new Promise((resolve, reject) => {
      const end = (ending: Ending) => {
        if (ending === 'done') resolve(done(answer(`run ${run} of client ${client}`)));
        if (ending === 'refused') resolve(refused('declined'));
        if (ending === 'unknown') resolve({ outcome: 'unknown' });
        if (ending === 'throws') reject(new Error('a bug'));
        if (ending === 'dies') this.#dies(client);
      };
      this.#works.push({ client, end });
    });
  }

  /** The store as one client has it: each of its steps waits for the schedule, and is compared with the specification. */
  #storeOf(client: number): IdempotencyStore {
    const store = this.#store;
    const specified = this.#specified;
    return {
      claim: (claim) =>
        this.#step(client, async () => {
          const expected = specified.claim(claim);
          const claimed = await store.claim(claim);
          expect(claimResult(claimed), 'claim').toMatchObject(expected);
          return claimed;
        }),
      renew: (id, owner, times) =>
        this.#step(client, async () => {
          const expected = specified.renew(owner, times.leaseMs, times.retentionMs);
          expect(await store.renew(id, owner, times), 'renew').toBe(expected);
          return expected;
        }),
      complete: (id, owner, given, retentionMs) =>
        this.#step(client, async () => {
          const expected = specified.complete(owner, given, retentionMs);
          const completed = await store.complete(id, owner, given, retentionMs);
          if (completed) this.#stored.push(given);
          expect(completed, 'complete').toBe(expected);
          return completed;
        }),
      release: (id, owner) =>
        this.#step(client, async () => {
          const expected = specified.release(owner);
          expect(await store.release(id, owner), 'release').toBe(expected);
          return expected;
        }),
      read: (id) => this.#step(client, () => store.read(id)),
      sweep: (limit) => this.#step(client, () => store.sweep(limit)),
    };
  }

  #step<T>(client: number, take: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const go = (fate: Fate) => {
        if (fate === 'dies-before') return this.#dies(client);
        if (fate === 'fails') return reject(new StoreError('UNAVAILABLE', 'none', 'down'));
        take().then(
          (value) => {
            if (fate === 'taken') resolve(value);
            if (fate === 'answer-lost') reject(new StoreError('CONNECTION_LOST', 'unknown', 'lost'));
            if (fate === 'dies-after') this.#dies(client);
          },
          (error: unknown) => {
            this.#broken ??= error;
          },
        );
      };
      if (!this.#dead.has(client)) this.#steps.push({ client, go });
    });
  }

  /** Its timers go on, since they are those of this process, but nothing that it does arrives. */
  #dies(client: number): void {
    this.#dead.add(client);
    for (const pending of [this.#steps, this.#works]) {
      const alive = pending.filter((one) => one.client !== client);
      pending.splice(0, pending.length, ...(alive as never[]));
    }
  }

  #broken: unknown;

  #check(): void {
    if (this.#broken !== undefined) throw this.#broken;
    expect(this.#stored.length, 'answers stored').toBeLessThanOrEqual(1);
    const bodies = new Set(this.#stored.map((stored) => shown(stored).body));
    for (const { outcome, notStored } of this.seen) {
      if (outcome.outcome === 'done' && !notStored)
        bodies.add(shown((outcome as { value: StoredAnswer }).value).body);
    }
    expect([...bodies], 'answers that were given').toHaveLength(Math.min(1, bodies.size));
  }
}

const explored = (makeStore: () => IdempotencyStore) =>
  fc.asyncProperty(schedules, async (schedule) => {
    vi.clearAllTimers();
    const world = new World(makeStore());
    for (const choice of schedule) await world.choose(choice);
    await world.finish();
  });

describe('schedules of four clients, with crashes, lost answers and pauses at every step', () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  const memory = () => memoryIdempotencyStore();

  test('store one answer at most, give no other to anybody, and free the key of whoever died', async () => {
    await fc.assert(explored(memory), { numRuns: thorough ? 10_000 : 2_500 });
  }, 240_000);

  /** Stores with one mistake each, as seen in the field. The schedules must find every one. */
  const mistakes: Record<string, (store: IdempotencyStore) => IdempotencyStore> = {
    'a completion that does not ask who the owner is': (store) => ({
      ...store,
      async complete(id, _, given, retentionMs) {
        const record = await store.read(id);
        return record !== undefined && store.complete(id, record.owner, given, retentionMs);
      },
    }),
    'a release that does not ask who the owner is': (store) => ({
      ...store,
      async release(id) {
        const record = await store.read(id);
        return record !== undefined && store.release(id, record.owner);
      },
    }),
    'a renewal that does not ask who the owner is': (store) => ({
      ...store,
      async renew(id, _, times) {
        const record = await store.read(id);
        return record !== undefined && store.renew(id, record.owner, times);
      },
    }),
    'a key that nobody can take over': (store) => ({
      ...store,
      claim: (claim) => store.claim({ ...claim, leaseMs: RETENTION_MS }),
    }),
    'a lease that is over before its time': (store) => ({
      ...store,
      claim: (claim) => store.claim({ ...claim, leaseMs: 50 }),
    }),
    'a completion that is reported and not stored': (store) => ({
      ...store,
      async complete(id, owner) {
        return (await store.read(id))?.owner === owner;
      },
    }),
  };

  test.each(Object.entries(mistakes))(
    'finds %s',
    async (_, mistake) => {
      const found = await fc.check(
        explored(() => mistake(memory())),
        { numRuns: 50_000, endOnFailure: true },
      );
      expect(found.failed).toBe(true);
    },
    240_000,
  );
});

describe.each(idempotencyStores)('%s does what is specified, step by step', (name) => {
  type Operation =
    | { readonly do: 'claim'; readonly owner: number; readonly payload: number }
    | { readonly do: 'renew' | 'complete' | 'release'; readonly owner: number }
    | { readonly do: 'read' | 'end lease' | 'end retention' };

  const owner = fc.nat({ max: 2 });
  const operations: fc.Arbitrary<Operation> = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('claim' as const), owner, payload: fc.nat({ max: 1 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('renew', 'complete', 'release'), owner }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('read', 'end lease', 'end retention') }) },
  ) as fc.Arbitrary<Operation>;

  const OWNERS = [1, 2, 3].map((digit) => `00000000-0000-4000-8000-00000000000${digit}`);
  const TIMES = { leaseMs: 600_000, retentionMs: 7 * 86_400_000 };

  test('any order of claims, renewals, completions, releases, and ends of leases', async () => {
    const opened = await openIdempotencyStore(name);
    const { store } = opened;
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(operations, { minLength: 5, maxLength: 30 }), async (history) => {
          const specified = new SpecifiedKey(() => 0);
          const id = idOf(newRequest());
          for (const [index, operation] of history.entries()) {
            const mine = 'owner' in operation ? (OWNERS[operation.owner] ?? '') : '';
            const given = { ...answer(`answer ${index}`), headers: {} };
            switch (operation.do) {
              case 'claim': {
                const fingerprint = String(operation.payload).repeat(64);
                const claim = { ...id, mode: 'leased', fingerprint, owner: mine, ...TIMES } as const;
                expect(claimResult(await store.claim(claim))).toMatchObject(specified.claim(claim));
                break;
              }
              case 'renew':
                expect(await store.renew(id, mine, TIMES)).toBe(
                  specified.renew(mine, TIMES.leaseMs, TIMES.retentionMs),
                );
                break;
              case 'complete':
                expect(await store.complete(id, mine, given, TIMES.retentionMs)).toBe(
                  specified.complete(mine, given, TIMES.retentionMs),
                );
                break;
              case 'release':
                expect(await store.release(id, mine)).toBe(specified.release(mine));
                break;
              case 'end lease':
                await opened.endLease(id);
                specified.endLease();
                break;
              case 'end retention':
                await opened.endRetention(id);
                specified.endRetention();
                break;
              case 'read': {
                const record = await store.read(id);
                const expected = specified.record;
                expect(record?.owner).toBe(expected?.owner);
                expect(record?.fingerprint).toBe(expected?.fingerprint);
                expect(record?.attempt).toBe(expected?.attempt);
                expect(record?.answer && shown(record.answer)).toEqual(
                  expected?.answer && shown(expected.answer),
                );
              }
            }
          }
        }),
        { numRuns: 60 },
      );
    } finally {
      await opened.close();
    }
  }, 120_000);
});
