import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { together } from '../../../test/barrier.ts';
import {
  type DistributedLockOptions,
  distributedLocks,
  LeaseLostError,
  type LockAsk,
  type LockEvent,
  type LockGrant,
  type LockLease,
  type LockPlace,
  type LockStore,
  MisuseError,
  type ReleasedPlace,
  refused,
  StoreError,
  TOKENS_PER_GRANT,
} from '../src/index.ts';

const LEASE_MS = 900;
const RENEWED_EVERY_MS = LEASE_MS / 3;
const WAIT_MS = 5_000;

const timeout = refused('lock-timeout');

// The clock stands still but for the test, so that a moment is exactly that.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const passes = (ms: number) => vi.advanceTimersByTimeAsync(ms);
/** Everything goes on that can. */
const settles = () => passes(0);

/** The process does not run for `ms`: no timer is served in its time. */
function standsStill(ms: number): void {
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
}

/** A place in the queue of a store that does what the test says, when it says so. */
class ScriptedPlace implements LockPlace {
  readonly key: string;
  readonly ask: LockAsk;
  trouble: StoreError | undefined;
  leaves: () => Promise<void> = async () => undefined;
  renews: () => Promise<boolean> = async () => true;
  releases: () => Promise<boolean> = async () => true;
  tellOfLoss: (cause: unknown) => void = () => undefined;
  left = 0;
  renewals = 0;
  /** How the lock was given back. */
  readonly releasings: ('release' | 'releaseAndQueue')[] = [];
  readonly #queueAgain: () => ScriptedPlace;
  readonly #settled = Promise.withResolvers<LockGrant | undefined>();

  constructor(key: string, ask: LockAsk, queueAgain: () => ScriptedPlace) {
    this.key = key;
    this.ask = ask;
    this.#queueAgain = queueAgain;
  }

  get granted(): Promise<LockGrant | undefined> {
    return this.#settled.promise;
  }

  /** @param ageMs  How old the lease is already. */
  async grant(firstToken: number, ageMs = 0): Promise<void> {
    this.#settled.resolve({
      firstToken,
      leasedAtMs: performance.now() - ageMs,
      renew: () => {
        this.renewals++;
        return this.renews();
      },
      release: () => {
        this.releasings.push('release');
        return this.releases();
      },
      releaseAndQueue: (): ReleasedPlace => {
        this.releasings.push('releaseAndQueue');
        return Object.assign(this.#queueAgain(), { released: this.releases() });
      },
      onLost: (told) => {
        this.tellOfLoss = told;
      },
    });
    await settles();
  }

  async refuse(): Promise<void> {
    this.#settled.resolve(undefined);
    await settles();
  }

  async fail(error: StoreError): Promise<void> {
    this.#settled.reject(error);
    await settles();
  }

  leave(): Promise<void> {
    this.left++;
    return this.leaves();
  }
}

class ScriptedStore implements LockStore {
  readonly places: ScriptedPlace[] = [];
  closings = 0;

  queue(key: string, ask: LockAsk): ScriptedPlace {
    const place = new ScriptedPlace(key, ask, () => this.queue(key, { ...ask, wait: true }));
    this.places.push(place);
    return place;
  }

  async close(): Promise<void> {
    this.closings++;
  }

  /** The one that was taken last. */
  get place(): ScriptedPlace {
    const place = this.places.at(-1);
    if (place === undefined) throw new Error('the store was not asked');
    return place;
  }
}

function newLocks(options: DistributedLockOptions = {}) {
  const store = new ScriptedStore();
  const events: LockEvent[] = [];
  const locks = distributedLocks(store, {
    leaseMs: LEASE_MS,
    waitMs: WAIT_MS,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { store, locks, events, kinds: () => events.map(({ kind }) => kind), ...sections(locks) };
}

/** A caller, and his work: it goes on until the test ends it. */
interface Section {
  readonly outcome: Promise<unknown>;
  /** What became of the caller; undefined while he waits or works. */
  readonly became: unknown;
  /** What his work was given; undefined before. */
  readonly lease: LockLease | undefined;
  end(): Promise<void>;
  fail(error: Error): Promise<void>;
}

function sections({ run }: ReturnType<typeof distributedLocks>) {
  return {
    enter(key = 'key'): Section {
      const work = Promise.withResolvers<string>();
      let lease: LockLease | undefined;
      let became: unknown;
      const outcome = run(key, (given) => {
        lease = given;
        return work.promise;
      });
      outcome.then(
        (value) => {
          became = value;
        },
        (error: unknown) => {
          became = error;
        },
      );
      return {
        outcome,
        get became() {
          return became;
        },
        get lease() {
          return lease;
        },
        async end() {
          work.resolve('done');
          await settles();
        },
        async fail(error) {
          work.reject(error);
          await settles();
        },
      };
    },
  };
}

const down = (effect: 'none' | 'unknown' = 'none') => new StoreError('UNAVAILABLE', effect, 'down');
const silence = () => new Promise<never>(() => undefined);

describe('what it is made with, and asked for', () => {
  test.each([
    { leaseMs: 0 },
    { leaseMs: -1 },
    { leaseMs: 1.5 },
    { leaseMs: Number.NaN },
    { leaseMs: Number.POSITIVE_INFINITY },
    { leaseMs: 2 ** 31 },
    { renewForMs: -1 },
    { renewForMs: 0.5 },
    { waitMs: -1 },
    { waitMs: 0.5 },
    { waitMs: 2 ** 31 },
  ])('%j is refused', (options) => {
    expect(() => distributedLocks(new ScriptedStore(), options)).toThrow(MisuseError);
  });

  test.each([{ leaseMs: 1 }, { leaseMs: 2 ** 31 - 1 }, { renewForMs: 2 ** 32 }, { waitMs: 2 ** 31 - 1 }])(
    '%j is not',
    (options) => {
      expect(() => distributedLocks(new ScriptedStore(), options)).not.toThrow();
    },
  );

  test.each(['', undefined, 7])('the key %j is refused, and nothing is asked for', async (key) => {
    const { store, locks } = newLocks();
    await expect(locks.run(key as string, async () => 'ran')).rejects.toThrow(MisuseError);
    expect(store.places).toEqual([]);
  });

  test('the store is asked for the key, its lease, and whether to wait', async () => {
    const { store, enter } = newLocks();
    enter('orders:1');
    expect(store.places).toMatchObject([{ key: 'orders:1', ask: { leaseMs: LEASE_MS, wait: true } }]);
  });
});

describe('the outcome is that of the work', () => {
  test('what it returns; by then the lock is given back', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(100);
    expect(section.lease?.token).toBe(100);
    const given = Promise.withResolvers<boolean>();
    store.place.releases = () => given.promise;
    await section.end();
    expect(store.place.releasings).toEqual(['release']);
    expect(section.became).toBeUndefined();
    given.resolve(true);
    expect(await section.outcome).toBe('done');
    expect(kinds()).toEqual([]);
  });

  test('what it throws; the lock is given back all the same', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const error = new Error('work');
    await section.fail(error);
    expect(section.became).toBe(error);
    expect(store.place.releasings).toEqual(['release']);
  });

  test('what it throws before it has awaited anything', async () => {
    const { store, locks } = newLocks();
    const error = new Error('work');
    const run = locks.run('key', () => {
      throw error;
    });
    const thrown = expect(run).rejects.toBe(error);
    await store.place.grant(1);
    await thrown;
    expect(store.place.releasings).toEqual(['release']);
  });

  test('also where the lock cannot be given back, which is told', async () => {
    const { store, enter, events } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const cause = down('unknown');
    store.place.releases = () => Promise.reject(cause);
    await section.end();
    expect(section.became).toBe('done');
    expect(events).toEqual([{ kind: 'not-released', key: 'key', cause }]);
  });
});

describe('who waits', () => {
  test('is refused at the end of his patience, and not before; by then his place is given up', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    const left = Promise.withResolvers<void>();
    store.place.leaves = () => left.promise;
    await passes(WAIT_MS - 1);
    expect([store.place.left, section.became]).toEqual([0, undefined]);
    await passes(1);
    expect([store.place.left, section.became]).toEqual([1, undefined]);
    left.resolve();
    await settles();
    expect(section.became).toEqual(timeout);
    expect(section.lease).toBeUndefined();
  });

  test('is told of the failure, where the store could not be asked when his patience ended', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    store.place.trouble = down();
    await passes(WAIT_MS);
    expect(section.became).toBe(store.place.trouble);
    expect(store.place.left).toBe(1);
  });

  test('is refused, where a failure was over by then', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    store.place.trouble = down();
    await passes(WAIT_MS / 2);
    store.place.trouble = undefined;
    await passes(WAIT_MS / 2);
    expect(section.became).toEqual(timeout);
  });

  test('gives nobody else’s place up: those of one process share one, until the last has gone', async () => {
    const { store, enter } = newLocks();
    const first = enter();
    await passes(WAIT_MS / 2);
    const second = enter();
    expect(store.places).toHaveLength(1);
    await passes(WAIT_MS / 2);
    expect(first.became).toEqual(timeout);
    expect([second.became, store.place.left]).toEqual([undefined, 0]);
    await passes(WAIT_MS / 2);
    expect([second.became, store.place.left]).toEqual([timeout, 1]);
  });

  test('and has given up is not served when the lock comes', async () => {
    const { store, enter } = newLocks();
    const first = enter();
    await passes(WAIT_MS / 2);
    const second = enter();
    await passes(WAIT_MS / 2);
    await store.place.grant(1);
    expect([first.lease, second.lease?.token]).toEqual([undefined, 1]);
  });

  test('and is served may work for longer than he would have waited', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    await store.place.grant(1);
    await passes(2 * WAIT_MS);
    expect(section.became).toBeUndefined();
    await section.end();
    expect(section.became).toBe('done');
  });

  test('hears with all others that the store could not be asked for the first time; the next asks anew', async () => {
    const { store, enter, kinds } = newLocks();
    const [first, second] = [enter(), enter()];
    const error = down();
    await store.place.fail(error);
    expect([first.became, second.became]).toEqual([error, error]);
    const third = enter();
    expect(store.places).toHaveLength(2);
    await store.place.grant(1);
    expect(third.lease?.token).toBe(1);
    expect(kinds()).toEqual([]);
  });

  test('for one key is not in the way of another', async () => {
    const { store, enter } = newLocks();
    enter('one');
    const other = enter('another');
    expect(store.places.map(({ key }) => key)).toEqual(['one', 'another']);
    await store.place.grant(1);
    expect(other.lease?.token).toBe(1);
  });
});

describe('who does not want to wait', () => {
  test('says so to the store, and is refused where the lock is not free', async () => {
    const { store, enter } = newLocks({ waitMs: 0 });
    const section = enter();
    expect(store.place.ask.wait).toBe(false);
    await store.place.refuse();
    expect(section.became).toEqual(timeout);
    // Nothing is left of it: the next one asks anew.
    enter();
    expect(store.places).toHaveLength(2);
  });

  test('gets it where it is free, and no timer takes it from him', async () => {
    const { store, enter } = newLocks({ waitMs: 0 });
    const section = enter();
    await passes(100);
    await store.place.grant(1);
    await passes(100);
    await section.end();
    expect(section.became).toBe('done');
  });

  test('is refused at once where somebody of his process is before him', async () => {
    const { store, enter } = newLocks({ waitMs: 0 });
    const first = enter();
    const whileAsked = enter();
    await settles();
    expect(whileAsked.became).toEqual(timeout);
    await store.place.grant(1);
    const whileHeld = enter();
    await settles();
    expect(whileHeld.became).toEqual(timeout);
    expect(store.places).toHaveLength(1);
    await first.end();
    expect(first.became).toBe('done');
  });

  test('waits for no second grant either, where the first has come too late', async () => {
    const { store, enter } = newLocks({ waitMs: 0 });
    const section = enter();
    store.place.renews = async () => false;
    await store.place.grant(1, RENEWED_EVERY_MS + 1);
    await passes(WAIT_MS);
    expect(section.became).toEqual(timeout);
    expect(store.place.releasings).toEqual(['release']);
    expect(store.places).toHaveLength(1);
  });
});

describe('those of one process', () => {
  test('are served in the order of their coming, one at a time, each with a greater token', async () => {
    const { store, enter } = newLocks();
    const all = Array.from({ length: 5 }, () => enter());
    await store.place.grant(100);
    for (const [index, { end }] of all.entries()) {
      const tokens = all.map(({ lease }) => lease?.token);
      const served = [100, 101, 102, 103, 104].map((token, at) => (at <= index ? token : undefined));
      expect(tokens).toEqual(served);
      await end();
    }
    expect(store.place.releasings).toEqual(['release']);
    expect(store.places).toHaveLength(1);
  });

  test('are served by one grant where they come while it is held, also when the work before failed', async () => {
    const { store, enter } = newLocks();
    const first = enter();
    await store.place.grant(100);
    const second = enter();
    await first.fail(new Error('work'));
    expect(second.lease?.token).toBe(101);
    expect(store.places).toHaveLength(1);
  });

  test('are sixteen by one grant; then they stand behind the other processes', async () => {
    const { store, enter } = newLocks();
    const all = Array.from({ length: TOKENS_PER_GRANT + 1 }, () => enter());
    const first = store.place;
    await first.grant(100);
    for (const { end } of all.slice(0, TOKENS_PER_GRANT)) await end();
    const last = all.at(-1);
    expect(all.at(-2)?.lease?.token).toBe(100 + TOKENS_PER_GRANT - 1);
    expect([first.releasings, last?.lease]).toEqual([['releaseAndQueue'], undefined]);
    expect(store.places).toHaveLength(2);
    expect(store.place.ask.wait).toBe(true);
    await store.place.grant(500);
    expect(last?.lease?.token).toBe(500);
  });

  test('do not wait for the answer to that: who has worked waits for the release of nobody', async () => {
    const { store, enter } = newLocks();
    const [first, second] = [enter(), enter()];
    await store.place.grant(1);
    await passes(RENEWED_EVERY_MS + 1);
    store.place.releases = silence;
    await first.end();
    expect(first.became).toBe('done');
    expect(second.became).toBeUndefined();
  });

  test('hand the lock over as long as no renewal is due, and no longer', async () => {
    const { store, enter } = newLocks();
    const [first, second, third] = [enter(), enter(), enter()];
    const before = store.place;
    await before.grant(100);
    await passes(RENEWED_EVERY_MS);
    await first.end();
    expect(second.lease?.token).toBe(101);
    await passes(1);
    await second.end();
    expect([third.lease, before.releasings]).toEqual([undefined, ['releaseAndQueue']]);
  });

  test('do not hand over what is lost', async () => {
    const { store, enter } = newLocks();
    const [first, second] = [enter(), enter()];
    const before = store.place;
    await before.grant(100);
    before.tellOfLoss(new Error('gone'));
    await first.end();
    expect([second.lease, before.releasings]).toEqual([undefined, ['releaseAndQueue']]);
    await store.place.grant(200);
    expect(second.lease?.signal.aborted).toBe(false);
  });

  test('who has given up waiting for the second grant gives up that place, too', async () => {
    const { store, enter } = newLocks();
    const [first, second] = [enter(), enter()];
    await store.place.grant(1);
    await passes(RENEWED_EVERY_MS + 1);
    await first.end();
    await passes(WAIT_MS);
    expect(second.became).toEqual(timeout);
    expect(store.places.map(({ left }) => left)).toEqual([0, 1]);
  });

  test('who wants the key when nobody has it any more asks anew', async () => {
    const { store, enter } = newLocks();
    const first = enter();
    await store.place.grant(1);
    store.place.releases = silence;
    await first.end();
    // While it is being given back already.
    const second = enter();
    expect(store.places).toHaveLength(2);
    await store.place.grant(50);
    expect(second.lease?.token).toBe(50);
    await second.end();
    const third = enter();
    await passes(WAIT_MS);
    expect(third.became).toEqual(timeout);
    enter();
    expect(store.places).toHaveLength(4);
  });
});

describe('a grant of which the process hears late', () => {
  test('is renewed before the work begins', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    const answer = Promise.withResolvers<boolean>();
    store.place.renews = () => answer.promise;
    await store.place.grant(100, RENEWED_EVERY_MS + 1);
    expect([store.place.renewals, section.lease]).toEqual([1, undefined]);
    answer.resolve(true);
    await settles();
    expect(section.lease?.token).toBe(100);
    expect(section.lease?.signal.aborted).toBe(false);
    await section.end();
    expect([section.became, kinds()]).toEqual(['done', []]);
  });

  test('is not, while no renewal is due', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    await store.place.grant(100, RENEWED_EVERY_MS);
    expect([store.place.renewals, section.lease?.token]).toEqual([0, 100]);
  });

  test('counts from when the renewal was sent, however long its answer took', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    const before = store.place;
    before.renews = () => new Promise((resolve) => setTimeout(resolve, RENEWED_EVERY_MS + 1, true));
    await before.grant(100, RENEWED_EVERY_MS + 1);
    await passes(RENEWED_EVERY_MS + 1);
    expect([section.lease, before.releasings]).toEqual([undefined, ['releaseAndQueue']]);
  });

  test.each([
    ['is not held any more', async () => false],
    ['cannot be renewed', () => Promise.reject(down())],
  ])('is given back where it %s, and another is waited for', async (_, renews) => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    const before = store.place;
    before.renews = renews;
    before.releases = renews;
    await before.grant(100, RENEWED_EVERY_MS + 1);
    expect(kinds()).not.toContain('lease-lost');
    expect([section.lease, before.releasings]).toEqual([undefined, ['releaseAndQueue']]);
    await store.place.grant(200);
    expect(section.lease?.token).toBe(200);
  });

  test('is given back where nobody waits for it any more', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    const answer = Promise.withResolvers<boolean>();
    store.place.renews = () => answer.promise;
    await passes(WAIT_MS - 1);
    await store.place.grant(100, RENEWED_EVERY_MS + 1);
    await passes(1);
    answer.resolve(true);
    await settles();
    expect(section.became).toEqual(timeout);
    expect(store.place.releasings).toEqual(['release']);
    expect(section.lease).toBeUndefined();
  });

  test('that it could not be renewed is told', async () => {
    const { store, enter, events } = newLocks();
    enter();
    const cause = down();
    store.place.renews = () => Promise.reject(cause);
    await store.place.grant(100, RENEWED_EVERY_MS + 1);
    expect(events).toEqual([{ kind: 'renewal-failed', key: 'key', cause }]);
  });
});

describe('the lease', () => {
  test('of work that is short is not renewed', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    await store.place.grant(1);
    await passes(RENEWED_EVERY_MS - 1);
    await section.end();
    await passes(10 * LEASE_MS);
    expect(store.place.renewals).toBe(0);
  });

  test('is renewed three times in its length while the work goes on, also if nobody looks at the signal', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    await passes(RENEWED_EVERY_MS - 1);
    expect(store.place.renewals).toBe(0);
    await passes(1);
    expect(store.place.renewals).toBe(1);
    await passes(10 * LEASE_MS);
    expect(store.place.renewals).toBe(31);
    expect(section.lease?.signal.aborted).toBe(false);
    await section.end();
    await passes(10 * LEASE_MS);
    expect([store.place.renewals, kinds()]).toEqual([31, []]);
  });

  test('counts from when the store began to count, and not from when the signal was looked at', async () => {
    const { store, enter } = newLocks();
    const section = enter();
    store.place.renews = silence;
    await store.place.grant(1, 100);
    await passes(50);
    const signal = section.lease?.signal;
    await passes(LEASE_MS - 150 - 1);
    expect(signal?.aborted).toBe(false);
    await passes(1);
    expect(signal?.aborted).toBe(true);
  });

  test('is renewed for renewForMs; then it is lost', async () => {
    const { store, enter, kinds } = newLocks({ renewForMs: 2 * LEASE_MS });
    const section = enter();
    await store.place.grant(1);
    await passes(3 * LEASE_MS - 1);
    expect([store.place.renewals, section.lease?.signal.aborted]).toEqual([6, false]);
    await passes(1);
    expect(section.lease?.signal.aborted).toBe(true);
    await passes(10 * LEASE_MS);
    expect([store.place.renewals, kinds()]).toEqual([6, ['lease-lost']]);
  });

  test('is never renewed with renewForMs 0', async () => {
    const { store, enter } = newLocks({ renewForMs: 0 });
    const section = enter();
    await store.place.grant(1);
    await passes(LEASE_MS);
    expect([store.place.renewals, section.lease?.signal.aborted]).toEqual([0, true]);
  });

  test('is renewed at once after a standstill that was shorter, though nothing has been renewed yet', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    standsStill(LEASE_MS - 200);
    await passes(RENEWED_EVERY_MS / 2 + 1);
    expect(store.place.renewals).toBe(1);
    expect([section.lease?.signal.aborted, kinds()]).toEqual([false, []]);
  });

  test('counts as lost after one that was longer: the signal says so to who looks first', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    standsStill(LEASE_MS);
    expect(section.lease?.signal.reason).toBeInstanceOf(LeaseLostError);
    expect(() => section.lease?.signal.throwIfAborted()).toThrow(LeaseLostError);
    expect(kinds()).toEqual(['lease-lost']);
    await section.end();
    expect(section.became).toBe('done');
  });

  test('counts as lost after one in the middle of the work, also to who has looked before, and before a timer runs', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    expect(section.lease?.signal.aborted).toBe(false);
    await passes(RENEWED_EVERY_MS);
    standsStill(LEASE_MS);
    expect(() => section.lease?.signal.throwIfAborted()).toThrow(LeaseLostError);
    expect(kinds()).toEqual(['lease-lost']);
    // It is kept from others all the same.
    await passes(LEASE_MS);
    expect(store.place.renewals).toBeGreaterThanOrEqual(3);
    await section.end();
    expect([section.became, kinds()]).toEqual(['done', ['lease-lost']]);
  });

  test('is renewed at once after one, where nobody has looked: what is still held is not told of as lost', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    standsStill(LEASE_MS);
    await passes(RENEWED_EVERY_MS / 2);
    expect(store.place.renewals).toBe(1);
    await passes(LEASE_MS);
    expect([section.lease?.signal.aborted, kinds()]).toEqual([false, []]);
  });

  test('that is over when the work ends is not handed over', async () => {
    const { store, enter } = newLocks();
    const [first, second] = [enter(), enter()];
    const before = store.place;
    await before.grant(1);
    standsStill(LEASE_MS);
    await first.end();
    expect([second.lease, before.releasings]).toEqual([undefined, ['releaseAndQueue']]);
  });
});

describe('the signal', () => {
  test('is one for all that a grant serves', async () => {
    const { store, enter } = newLocks();
    const [first, second] = [enter(), enter()];
    await store.place.grant(1);
    const signal = first.lease?.signal;
    await first.end();
    expect(second.lease?.signal).toBe(signal);
    expect(first.lease?.signal).toBe(signal);
  });

  test('of work that has ended renews nothing, and is not aborted by what comes later', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    await section.end();
    const signal = section.lease?.signal;
    await passes(10 * LEASE_MS);
    store.place.tellOfLoss(new Error('gone'));
    expect([store.place.renewals, signal?.aborted, kinds()]).toEqual([0, false, []]);
  });

  test('of work that has ended long ago tells of no loss', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    await section.end();
    await passes(10 * LEASE_MS);
    void section.lease?.signal;
    await passes(10 * LEASE_MS);
    expect([store.place.renewals, kinds()]).toEqual([0, []]);
  });
});

describe('a loss', () => {
  test('that a renewal finds is told once, by the signal and the listener', async () => {
    const { store, enter, events } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const signal = section.lease?.signal;
    store.place.renews = async () => false;
    store.place.releases = async () => false;
    await passes(RENEWED_EVERY_MS);
    expect(signal?.reason).toBeInstanceOf(LeaseLostError);
    expect(events).toEqual([{ kind: 'lease-lost', key: 'key', cause: signal?.reason }]);
    await section.end();
    expect([section.became, events.length]).toEqual(['done', 1]);
  });

  test('of which the store tells by itself is told once, with its cause', async () => {
    const { store, enter, events } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const cause = new Error('the session is gone');
    store.place.releases = async () => false;
    store.place.tellOfLoss(cause);
    const reason = section.lease?.signal.reason;
    expect(reason).toBeInstanceOf(LeaseLostError);
    expect(reason.cause).toBe(cause);
    expect(events).toEqual([{ kind: 'lease-lost', key: 'key', cause: reason }]);
    store.place.tellOfLoss(cause);
    await passes(10 * LEASE_MS);
    await section.end();
    expect([section.became, events.length, store.place.renewals]).toEqual(['done', 1, 0]);
  });

  test('that is found when the lock is given back is told', async () => {
    const { store, enter, events } = newLocks();
    const section = enter();
    await store.place.grant(1);
    store.place.releases = async () => false;
    await section.end();
    expect(section.became).toBe('done');
    expect(events).toMatchObject([{ kind: 'lease-lost', key: 'key', cause: { code: 'LEASE_LOST' } }]);
  });

  test('that is found when the lock is given back to be queued for is told, too', async () => {
    const { store, enter, kinds } = newLocks();
    const [first] = [enter(), enter()];
    await store.place.grant(1);
    store.place.releases = async () => false;
    await passes(RENEWED_EVERY_MS + 1);
    await first.end();
    expect(kinds()).toEqual(['lease-lost']);
  });

  describe('of a lock that has served nobody', () => {
    /** Of which the process hears late, when nobody waits for it any more. */
    async function unwanted() {
      const begun = newLocks();
      begun.enter();
      const answer = Promise.withResolvers<boolean>();
      const { place } = begun.store;
      place.renews = () => answer.promise;
      await passes(WAIT_MS - 1);
      await place.grant(1, RENEWED_EVERY_MS + 1);
      await passes(1);
      return { ...begun, place, answer };
    }

    test('and that has ended by the time that it is given back is not told', async () => {
      const { place, answer, kinds } = await unwanted();
      place.releases = async () => false;
      answer.resolve(true);
      await settles();
      expect([place.releasings, kinds()]).toEqual([['release'], []]);
    });

    test('and that cannot be given back is not told either', async () => {
      const { place, answer, kinds } = await unwanted();
      place.releases = () => Promise.reject(down());
      answer.resolve(true);
      await settles();
      expect([place.releasings, kinds()]).toEqual([['release'], []]);
    });

    test('and of which the store tells is not told', async () => {
      const { place, answer, kinds } = await unwanted();
      place.tellOfLoss(new Error('gone'));
      answer.resolve(false);
      await settles();
      expect([place.releasings, kinds()]).toEqual([['release'], []]);
    });

    test('and that is queued for again is not told', async () => {
      const { store, enter, kinds } = newLocks();
      enter();
      const before = store.place;
      before.renews = () => Promise.reject(down());
      before.releases = async () => false;
      await before.grant(1, LEASE_MS);
      expect([before.releasings, kinds()]).toEqual([['releaseAndQueue'], ['renewal-failed']]);
    });

    test('is renewed by nothing but its confirmation', async () => {
      const { place, answer } = await unwanted();
      await passes(5 * LEASE_MS);
      answer.resolve(true);
      await passes(5 * LEASE_MS);
      expect(place.renewals).toBe(1);
    });
  });

  test('is not told where a renewal that failed is made up for', async () => {
    const { store, enter, events } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const cause = down();
    store.place.renews = () => (store.place.renewals === 1 ? Promise.reject(cause) : Promise.resolve(true));
    await passes(5 * LEASE_MS);
    expect(events).toEqual([{ kind: 'renewal-failed', key: 'key', cause }]);
    expect(section.lease?.signal.aborted).toBe(false);
  });

  test('is told where no renewal has been answered by the end of the lease', async () => {
    const { store, enter, kinds } = newLocks();
    const section = enter();
    await store.place.grant(1);
    store.place.renews = silence;
    await passes(LEASE_MS - 1);
    expect(section.lease?.signal.aborted).toBe(false);
    await passes(1);
    expect([section.lease?.signal.aborted, kinds()]).toEqual([true, ['lease-lost']]);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('listener');
      },
    ],
    ['rejects', () => Promise.reject(new Error('listener'))],
  ])('told to a listener that %s changes nothing', async (_, onEvent) => {
    const { store, enter } = newLocks({ onEvent });
    const section = enter();
    await store.place.grant(1);
    store.place.tellOfLoss(new Error('gone'));
    expect(section.lease?.signal.aborted).toBe(true);
    store.place.releases = () => Promise.reject(down());
    await section.end();
    expect(section.became).toBe('done');
  });

  test('that nobody listens to changes nothing', async () => {
    const store = new ScriptedStore();
    const locks = distributedLocks(store);
    const run = locks.run('key', async () => 'done');
    store.place.releases = async () => false;
    await store.place.grant(1);
    expect(await run).toBe('done');
  });
});

describe('closing', () => {
  test('refuses who waits, waits until their places are given up, and closes the store', async () => {
    const { store, locks, enter } = newLocks();
    const waiting = [enter(), enter(), enter('another')];
    const left = Promise.withResolvers<void>();
    for (const place of store.places) place.leaves = () => left.promise;
    let closed = false;
    void locks.close().then(() => {
      closed = true;
    });
    await settles();
    expect(store.places.map((place) => place.left)).toEqual([1, 1]);
    expect([closed, store.closings]).toEqual([false, 0]);
    left.resolve();
    await settles();
    expect(waiting.map(({ became }) => became)).toEqual([timeout, timeout, timeout]);
    expect([closed, store.closings]).toEqual([true, 1]);
  });

  test('waits for those who hold a lock, and serves nobody after them', async () => {
    const { store, locks, enter } = newLocks();
    const [holder, waiter] = [enter(), enter()];
    const other = enter('another');
    for (const place of store.places) await place.grant(1);
    const closing = locks.close();
    await settles();
    expect([waiter.became, holder.became, store.closings]).toEqual([timeout, undefined, 0]);
    const given = Promise.withResolvers<boolean>();
    store.place.releases = () => given.promise;
    await holder.end();
    await other.end();
    expect([waiter.lease, store.closings]).toEqual([undefined, 0]);
    given.resolve(true);
    await closing;
    expect([holder.became, other.became, store.closings]).toEqual(['done', 'done', 1]);
    expect(store.places.flatMap(({ releasings }) => releasings)).toEqual(['release', 'release']);
  });

  test('goes on renewing for those who hold a lock', async () => {
    const { store, locks, enter } = newLocks();
    const holder = enter();
    await store.place.grant(1);
    const closing = locks.close();
    await passes(LEASE_MS);
    expect([store.place.renewals, holder.lease?.signal.aborted]).toEqual([3, false]);
    await holder.end();
    await closing;
  });

  test('refuses who comes later; the store is not asked', async () => {
    const { store, locks, enter } = newLocks();
    await locks.close();
    const section = enter();
    await settles();
    expect([section.became, store.places, store.closings]).toEqual([timeout, [], 1]);
  });

  test('twice closes the store once', async () => {
    const { store, locks, enter } = newLocks();
    const section = enter();
    await store.place.grant(1);
    const closings = together(2, () => locks.close());
    await section.end();
    await closings;
    await locks.close();
    expect(store.closings).toBe(1);
  });

  test('waits until a late grant that nobody wants any more is given back', async () => {
    const { store, locks, enter } = newLocks();
    enter();
    const answer = Promise.withResolvers<boolean>();
    store.place.renews = () => answer.promise;
    await store.place.grant(1, RENEWED_EVERY_MS + 1);
    const closing = locks.close();
    await settles();
    expect(store.closings).toBe(0);
    answer.resolve(true);
    await closing;
    expect(store.place.releasings).toEqual(['release']);
  });

  test('in the moment of a grant gives it back once, and tells of no loss', async () => {
    const { store, locks, enter, kinds } = newLocks();
    const section = enter();
    store.place.releases = async () => store.place.left === 0;
    const granted = store.place.grant(1);
    await locks.close();
    await granted;
    expect([section.became, kinds()]).toEqual([timeout, []]);
    expect(store.place.left + store.place.releasings.length).toBe(1);
  });
});
