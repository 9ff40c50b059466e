import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { together } from '../../../test/barrier.ts';
import {
  distributedLocks,
  LeaseLostError,
  type LockGrant,
  type LockStore,
  memoryLockStore,
  TOKENS_PER_GRANT,
} from '../src/index.ts';

const LEASE_MS = 10_000;
const ASK = { leaseMs: LEASE_MS, wait: true };
const NO_WAIT = { leaseMs: LEASE_MS, wait: false };

async function take(store: LockStore, key: string): Promise<LockGrant> {
  return held(await store.queue(key, ASK).granted);
}

function held(grant: LockGrant | undefined): LockGrant {
  if (grant === undefined) throw new Error('the lock was not granted');
  return grant;
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Whether it has not been settled by now. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  promise.then(settle, settle);
  await nextTurn();
  return !settled;
}

/** Two who are at it at the same time read the same number, and write the same. */
async function count(
  callers: number,
  around: (work: () => Promise<void>) => Promise<unknown>,
): Promise<number> {
  let stock = 0;
  await together(callers, () =>
    around(async () => {
      const read = stock;
      await nextTurn();
      stock = read + 1;
    }),
  );
  return stock;
}

describe('one at a time', () => {
  test('without a lock, who reads and writes loses the updates of others', async () => {
    expect(await count(20, (work) => work())).toBe(1);
  });

  test('with one, nobody does', async () => {
    const store = memoryLockStore();
    const locked = async (work: () => Promise<void>) => {
      const grant = await take(store, 'coupon');
      await work();
      expect(await grant.release()).toBe(true);
    };
    expect(await count(20, locked)).toBe(20);
  });

  test('two distributedLocks over one store compete like two processes', async () => {
    const store = memoryLockStore();
    const processes = [distributedLocks(store), distributedLocks(store)];
    let next = 0;
    const locked = (work: () => Promise<void>) =>
      (processes[next++ % 2] as (typeof processes)[0]).run('coupon', work);
    expect(await count(20, locked)).toBe(20);
    for (const locks of processes) await locks.close();
  });

  test('other keys are other locks', async () => {
    const store = memoryLockStore();
    await take(store, 'one');
    await take(store, 'other');
  });
});

describe('the line', () => {
  test('is served in the order of arrival, and who queues again is behind all', async () => {
    const store = memoryLockStore();
    const order: string[] = [];
    const serve = async (who: string, granted: Promise<LockGrant | undefined>) => {
      const grant = held(await granted);
      order.push(who);
      await grant.release();
    };
    const first = await take(store, 'key');
    const second = serve('second', store.queue('key', ASK).granted);
    const third = serve('third', store.queue('key', ASK).granted);
    const again = first.releaseAndQueue();
    expect(await again.released).toBe(true);
    await Promise.all([second, third, serve('again', again.granted)]);
    expect(order).toEqual(['second', 'third', 'again']);
  });

  test('is not joined by who does not wait', async () => {
    const store = memoryLockStore();
    const grant = held(await store.queue('key', NO_WAIT).granted);
    expect(await store.queue('key', NO_WAIT).granted).toBeUndefined();
    await grant.release();
    expect(await store.queue('key', NO_WAIT).granted).toBeDefined();
  });

  test('goes on without who leaves, who is never granted anything', async () => {
    const store = memoryLockStore();
    const grant = await take(store, 'key');
    const leaving = store.queue('key', ASK);
    const staying = store.queue('key', ASK);
    await leaving.leave();
    expect(await isPending(staying.granted)).toBe(true);
    await grant.release();
    await staying.granted;
    expect(await isPending(leaving.granted)).toBe(true);
  });

  test('goes on when who leaves holds the lock', async () => {
    const store = memoryLockStore();
    const place = store.queue('key', ASK);
    const grant = held(await place.granted);
    const next = store.queue('key', ASK);
    await place.leave();
    await next.granted;
    expect(await grant.release()).toBe(false);
  });

  test('passes by what was given back already: nobody gives back the lock of another', async () => {
    const store = memoryLockStore();
    const first = await take(store, 'key');
    await first.release();
    const second = await take(store, 'key');
    expect(await first.release()).toBe(false);
    expect(await first.renew()).toBe(false);
    expect(await store.queue('key', NO_WAIT).granted).toBeUndefined();
    expect(await second.renew()).toBe(true);
  });
});

describe('the lease', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A lease that is over ends one turn of the loop later. */
  const passes = async (ms: number) => {
    vi.advanceTimersByTime(ms);
    await nextTurn();
  };

  test('ends by itself: who is next has the lock, and the holder is told', async () => {
    const store = memoryLockStore();
    const grant = await take(store, 'key');
    const next = store.queue('key', ASK).granted;
    const told = vi.fn();
    grant.onLost(told);
    await passes(LEASE_MS - 1);
    expect(told).not.toHaveBeenCalled();
    await passes(1);
    expect(told).toHaveBeenCalledExactlyOnceWith(expect.any(LeaseLostError));
    const after = held(await next);
    expect(await grant.renew()).toBe(false);
    expect(await grant.release()).toBe(false);
    expect(await after.renew()).toBe(true);
  });

  test('begins anew with each renewal', async () => {
    const grant = await take(memoryLockStore(), 'key');
    for (let time = 0; time < 5; time++) {
      await passes(LEASE_MS - 1);
      expect(await grant.renew()).toBe(true);
    }
  });

  test('is no longer when somebody leaves the line', async () => {
    const store = memoryLockStore();
    const grant = await take(store, 'key');
    const leaving = store.queue('key', ASK);
    await passes(LEASE_MS - 1);
    await leaving.leave();
    await passes(1);
    expect(await grant.renew()).toBe(false);
  });

  test('is nobody’s any more when the lock was given back', async () => {
    const store = memoryLockStore();
    const grant = await take(store, 'key');
    const told = vi.fn();
    grant.onLost(told);
    await grant.release();
    expect(vi.getTimerCount()).toBe(0);
    await take(store, 'key');
    await passes(LEASE_MS - 1);
    expect(await store.queue('key', NO_WAIT).granted).toBeUndefined();
    expect(told).not.toHaveBeenCalled();
  });

  test('that is over is queued for again from the end of the line', async () => {
    const store = memoryLockStore();
    const grant = await take(store, 'key');
    await passes(LEASE_MS);
    const again = grant.releaseAndQueue();
    expect(await again.released).toBe(false);
    expect(await held(await again.granted).release()).toBe(true);
  });
});

describe('after a standstill of the process', () => {
  const STANDSTILL_MS = 300;
  const standStill = () => {
    const endMs = performance.now() + STANDSTILL_MS;
    while (performance.now() < endMs);
  };

  test('a renewal that is due goes before the end of the lease, also where its timer runs later', async () => {
    const SHORT = { leaseMs: 200, wait: true };
    const store = memoryLockStore();
    // Timers of the same length run together when the first of them is due.
    await store.queue('other', SHORT).granted;
    await sleep(80);
    const grant = held(await store.queue('key', SHORT).granted);
    const told = vi.fn();
    grant.onLost(told);
    const renewed = sleep(140).then(() => {
      expect(told).not.toHaveBeenCalled();
      return grant.renew();
    });
    standStill();
    expect(await renewed).toBe(true);
    await nextTurn();
    expect(told).not.toHaveBeenCalled();
    expect(await grant.release()).toBe(true);
  });

  test.each([0, 100])(
    'of a holder, %i ms after it began, nobody else has the lock, and nobody is told',
    async (ms) => {
      const store = memoryLockStore();
      const onEvent = vi.fn();
      const [holder, other] = [
        distributedLocks(store, { leaseMs: 200, onEvent }),
        distributedLocks(store, { leaseMs: 200, onEvent }),
      ];
      const order: string[] = [];
      let waits: Promise<unknown> | undefined;
      await holder.run('key', async () => {
        waits = other.run('key', async () => order.push('other'));
        if (ms > 0) await sleep(ms);
        standStill();
        await sleep(50);
        order.push('holder');
      });
      await waits;
      expect([order, onEvent.mock.calls]).toEqual([['holder', 'other'], []]);
    },
  );
});

test('tokens grow from grant to grant, over all keys, and whatever the clock does', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const store = memoryLockStore();
  let last = 0;
  for (const [index, now] of [5_000_000, 5_000_000, 4_000_000, 6_000_000].entries()) {
    vi.setSystemTime(now);
    const grant = await take(store, `key ${index % 2}`);
    expect(grant.firstToken).toBeGreaterThan(Math.max(last, now * 1_000));
    last = grant.firstToken + TOKENS_PER_GRANT - 1;
    await grant.release();
  }
  vi.useRealTimers();
});

test('nothing is kept of a key that nobody wants', async () => {
  const KEYS = 50_000;
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const store = memoryLockStore();
  const use = async (key: string) => {
    const grant = await take(store, key);
    await store.queue(key, ASK).leave();
    await grant.release();
  };
  const heap = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  for (let key = 0; key < 1_000; key++) await use(`warm-up ${key}`);
  const before = heap();
  for (let key = 0; key < KEYS; key++) await use(`key ${key}`);
  // An entry of a map with its key alone takes more than 50 bytes.
  expect(heap() - before).toBeLessThan(KEYS * 20);
  await use('it is still there');
});
