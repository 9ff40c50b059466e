import { MisuseError, type RedisPort, refused } from 'pawl';
import { ioredisPort } from 'pawl/ioredis';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { barrier, together, until } from '../../../../test/barrier.ts';
import { newRedis } from '../../../../test/stores.ts';
import type { LockSubscriber } from '../../src/coupons/issue/lock-wake-ups.ts';
import {
  type PublishedLock,
  publishedLocks,
  spinLock,
  waitingLock,
} from '../../src/coupons/issue/published-locks.ts';

const { redis, prefix } = newRedis();
let port: RedisPort;
let locks = 0;

beforeAll(async () => {
  await redis.connect();
  port = ioredisPort(redis, { commandTimeoutMs: 5_000 });
});

afterAll(() => redis.quit());

/** Longer than any test: who waits for its end hangs. */
const NEVER_ENDS_MS = 600_000;

const newKey = () => `lock-${++locks}`;
const unwatched = { retried: () => undefined, mark: () => undefined };

function watched() {
  const steps: string[] = [];
  return {
    steps,
    retries: () => steps.filter((step) => step === 'retried').length,
    retried: () => void steps.push('retried'),
    mark: (step: string) => void steps.push(step),
  };
}

/** A connection that only listens. It ends with the test. */
async function newSubscriber() {
  const subscriber = redis.duplicate({ autoResubscribe: false, retryStrategy: () => 10 });
  subscriber.on('error', () => undefined);
  onTestFinished(() => subscriber.disconnect());
  await subscriber.connect();
  return subscriber;
}

/** One that listens at once, and hears what the test tells it. */
function silentSubscriber() {
  const listeners: ((channel: string) => void)[] = [];
  const subscriber: LockSubscriber = {
    subscribe: async () => 1,
    unsubscribe: async () => 0,
    on: (event: string, listener: (channel: string) => void) => {
      if (event === 'message') listeners.push(listener);
    },
    options: { autoResubscribe: false },
  };
  return {
    subscriber,
    tell: (channel: string) => {
      for (const listener of listeners) listener(channel);
    },
  };
}

/** The same port, and the names of the commands that went through it. */
function counted(over: RedisPort = port) {
  const sent: string[] = [];
  const counting: RedisPort = {
    command(name, ...args) {
      sent.push(name);
      return over.command(name, ...args);
    },
  };
  return { port: counting, sent };
}

function options() {
  const troubles: string[] = [];
  const end = new AbortController();
  return {
    prefix,
    leaseMs: NEVER_ENDS_MS,
    waitMs: NEVER_ENDS_MS,
    closing: end.signal,
    close: () => end.abort(),
    troubles,
    onTrouble: (message: string) => void troubles.push(message),
  };
}

type Options = ReturnType<typeof options>;

const kinds: Record<string, (given: Options, over?: RedisPort) => Promise<PublishedLock>> = {
  spin: async (given, over = port) => spinLock(over, { ...given, pauseMs: 1 }),
  waiting: async (given, over = port) => waitingLock(over, await newSubscriber(), given),
};

const listeners = async (key: string) =>
  Number(((await redis.pubsub('NUMSUB', prefix + key)) as unknown[])[1]);

/** Work that tells when it has begun, and ends when it is told to. */
function work() {
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<string>();
  return {
    begun: begun.promise,
    end: () => end.resolve('ended'),
    run: () => {
      begun.resolve();
      return end.promise;
    },
  };
}

/** Reads a number, looks away, and writes it back with one more. */
function increment() {
  const key = `${prefix}number-${++locks}`;
  return {
    async run(lookAway: () => Promise<unknown> = async () => undefined) {
      const read = Number(await redis.get(key));
      await lookAway();
      await redis.set(key, read + 1);
    },
    read: async () => Number(await redis.get(key)),
  };
}

test('without a lock, 50 who read before they write all write the same', async () => {
  const number = increment();
  const everybodyHasRead = barrier(50);
  await together(50, () => number.run(everybodyHasRead));
  expect(await number.read()).toBe(1);
});

describe.each(Object.keys(kinds))('the %s lock', (kind) => {
  const open = (given: Options, over?: RedisPort) =>
    (kinds[kind] as NonNullable<(typeof kinds)[string]>)(given, over);

  test('50 of two processes who read before they write lose nothing', async () => {
    const given = options();
    const [one, other] = [await open(given), await open(given)];
    const key = newKey();
    const number = increment();
    await together(50, (index) =>
      (index % 2 === 0 ? one : other).run(key, unwatched, () => number.run(() => redis.ping())),
    );
    expect(await number.read()).toBe(50);
    expect(given.troubles).toEqual([]);
  });

  test('it marks when it has the lock, and when it has given it back', async () => {
    const lock = await open(options());
    const trace = watched();
    await lock.run(newKey(), trace, async () => trace.mark('working'));
    expect(trace.steps).toEqual(['locked', 'working', 'unlocked']);
  });

  test('what the work throws is thrown on, and the lock is free', async () => {
    const lock = await open(options());
    const key = newKey();
    const failing = lock.run(key, unwatched, () => Promise.reject(new TypeError('a bug')));
    await expect(failing).rejects.toThrow(TypeError);
    expect(await redis.exists(prefix + key)).toBe(0);
  });

  test('not granted in time it is refused, and the work does not run', async () => {
    const lock = await open({ ...options(), waitMs: 20 });
    const key = newKey();
    await redis.set(prefix + key, 'somebody', 'PX', NEVER_ENDS_MS);
    const never = () => Promise.reject(new Error('the work ran'));
    expect(await lock.run(key, unwatched, never)).toEqual(refused('lock-timeout'));
    expect(await redis.get(prefix + key)).toBe('somebody');
  });

  test('the end of the process refuses who waits and who comes, and not who has the lock', async () => {
    const given = options();
    const lock = await open(given);
    const key = newKey();
    const holder = work();
    const held = lock.run(key, unwatched, holder.run);
    await holder.begun;
    const trace = watched();
    const waiting = lock.run(key, trace, async () => 'late');
    await until(() => trace.retries() > 0);

    given.close();

    expect(await waiting).toEqual(refused('lock-timeout'));
    expect(await lock.run(key, unwatched, async () => 'later')).toEqual(refused('lock-timeout'));
    holder.end();
    expect(await held).toBe('ended');
    expect(await redis.exists(prefix + key)).toBe(0);
  });

  test('a lock that cannot be given back does not hide what the work did, and somebody is told', async () => {
    const given = options();
    let broken = false;
    const lock = await open(given, {
      command: (name, ...args) =>
        broken ? Promise.reject(new Error('Redis is gone')) : port.command(name, ...args),
    });
    const trace = watched();
    const run = (end: () => Promise<string>) => {
      broken = false;
      return lock.run(newKey(), trace, () => {
        broken = true;
        return end();
      });
    };
    expect(await run(async () => 'committed')).toBe('committed');
    await expect(run(() => Promise.reject(new TypeError('a bug')))).rejects.toThrow(TypeError);
    expect(given.troubles).toHaveLength(2);
    expect(trace.steps).toEqual(['locked', 'locked']);
  });

  test('the published limit: work that outlasts its lease is no longer alone', async () => {
    const key = newKey();
    const first = work();
    const held = (await open({ ...options(), leaseMs: 20 })).run(key, unwatched, first.run);
    await first.begun;
    const lock = await open(options());
    expect(await lock.run(key, unwatched, async () => 'beside it')).toBe('beside it');
    first.end();
    expect(await held).toBe('ended');
  });
});

/** A's lease has ended, B has the lock, and A gives back what it believes to be its own. */
async function outlast(open: (given: Options) => Promise<PublishedLock>) {
  const key = newKey();
  const late = { ...options(), leaseMs: 20 };
  const [a, b] = [work(), work()];
  const first = (await open(late)).run(key, unwatched, a.run);
  await a.begun;
  const lock = await open(options());
  const second = lock.run(key, unwatched, b.run);
  await b.begun;
  a.end();
  await first;
  return { key, late, b, second };
}

describe('given back by one whose lease has ended', () => {
  test('the spin lock deletes the next one’s lock, and lets a third run beside him', async () => {
    const spin = kinds.spin as NonNullable<(typeof kinds)[string]>;
    const { key, late, b, second } = await outlast(spin);
    expect(await redis.exists(prefix + key)).toBe(0);
    expect(await (await spin(options())).run(key, unwatched, async () => 'beside B')).toBe('beside B');
    expect(late.troubles).toEqual([]);
    b.end();
    await second;
  });

  test('the waiting lock is left to the next one, and somebody is told', async () => {
    const waiting = kinds.waiting as NonNullable<(typeof kinds)[string]>;
    const { key, late, b, second } = await outlast(waiting);
    const third = (await waiting({ ...options(), waitMs: 0 })).run(key, unwatched, async () => 'beside B');
    expect(await third).toEqual(refused('lock-timeout'));
    expect(late.troubles).toHaveLength(1);
    b.end();
    expect(await second).toBe('ended');
  });
});

describe('the spin lock', () => {
  test('asks again after every pause, and counts it', async () => {
    const { port: counting, sent } = counted();
    const lock = spinLock(counting, { ...options(), pauseMs: 1 });
    const key = newKey();
    await redis.set(prefix + key, 'somebody');
    const trace = watched();
    const running = lock.run(key, trace, async () => 'ran');
    await until(() => trace.retries() >= 3);
    await redis.del(prefix + key);
    expect(await running).toBe('ran');
    expect(sent.filter((name) => name === 'SET')).toHaveLength(trace.retries() + 1);
  });
});

describe('the waiting lock', () => {
  test('is woken by whoever gives it back, and asks no more often than that', async () => {
    const { port: counting, sent } = counted();
    const lock = waitingLock(counting, await newSubscriber(), options());
    const key = newKey();
    const holder = work();
    const held = waitingLock(port, await newSubscriber(), options()).run(key, unwatched, holder.run);
    await holder.begun;
    const trace = watched();
    const waiting = lock.run(key, trace, async () => 'woken');
    // Once, and again when it listens.
    await until(() => sent.length === 2);

    holder.end();

    expect(await waiting).toBe('woken');
    await held;
    expect(trace.retries()).toBe(2);
    expect(sent).toHaveLength(4);
  });

  test('a message wakes one of a process, and not all', async () => {
    const { port: counting, sent } = counted();
    const lock = waitingLock(counting, await newSubscriber(), options());
    const key = newKey();
    const holder = work();
    const held = lock.run(key, unwatched, holder.run);
    await holder.begun;
    const trace = watched();
    const first = lock.run(key, trace, async () => 'woken');
    await until(() => trace.retries() === 1);
    const others = together(9, () => lock.run(key, unwatched, async () => 'woken'));
    await until(() => sent.length === 3 + 9);

    holder.end();

    expect([await first, ...(await others)]).toEqual(Array(10).fill('woken'));
    await held;
    // Each was woken when it could have the lock, and gave it back.
    expect(sent).toHaveLength(3 + 9 + 1 + 2 * 10);
  });

  test('what is given back before anybody listens is not missed', async () => {
    const listening = Promise.withResolvers<void>();
    let subscribed = false;
    const slow: LockSubscriber = {
      ...silentSubscriber().subscriber,
      subscribe: () => {
        subscribed = true;
        return listening.promise;
      },
    };
    const key = newKey();
    await redis.set(prefix + key, 'somebody', 'PX', NEVER_ENDS_MS);
    const waiting = waitingLock(port, slow, options()).run(key, unwatched, async () => 'ran');
    await until(() => subscribed);
    await redis.del(prefix + key);
    listening.resolve();
    expect(await waiting).toBe('ran');
  });

  test('a message that comes while the answer to an attempt is under way is not missed', async () => {
    const { subscriber, tell } = silentSubscriber();
    const key = newKey();
    await redis.set(prefix + key, 'somebody', 'PX', NEVER_ENDS_MS);
    const [looked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let attempts = 0;
    const slow: RedisPort = {
      async command(name, ...args) {
        const answer = await port.command(name, ...args);
        if (++attempts === 2) {
          looked.resolve();
          await goOn.promise;
        }
        return answer;
      },
    };
    const waiting = waitingLock(slow, subscriber, options()).run(key, unwatched, async () => 'ran');
    await looked.promise;
    await redis.del(prefix + key);
    tell(prefix + key);
    goOn.resolve();
    expect(await waiting).toBe('ran');
  });

  test('a lost message: it looks by itself when the lease of the holder is over', async () => {
    const lock = waitingLock(port, await newSubscriber(), options());
    const key = newKey();
    const trace = watched();
    await redis.set(prefix + key, 'somebody', 'PX', 300);
    expect(await lock.run(key, trace, async () => 'ran')).toBe('ran');
    expect(trace.retries()).toBeLessThan(10);
  });

  test('the same where nobody listens, because the subscriber cannot be reached', async () => {
    const subscriber = await newSubscriber();
    subscriber.disconnect();
    const key = newKey();
    await redis.set(prefix + key, 'somebody', 'PX', 100);
    const lock = waitingLock(port, subscriber, options());
    expect(await lock.run(key, unwatched, async () => 'ran')).toBe('ran');
  });

  test('a subscriber that comes back listens again, and its waiters look at once what they have missed', async () => {
    const subscriber = await newSubscriber();
    const id = await subscriber.client('ID');
    const key = newKey();
    const missed = watched();
    await redis.set(prefix + key, 'somebody', 'PX', NEVER_ENDS_MS);
    const lock = waitingLock(port, subscriber, options());
    const holder = work();
    const first = lock.run(key, missed, holder.run);
    await until(async () => missed.retries() === 1 && (await listeners(key)) === 1);

    // It is deleted, and nothing is published; who has lost the connection cannot know that.
    await redis.del(prefix + key);
    await redis.client('KILL', 'ID', id);
    await holder.begun;

    const told = watched();
    const second = lock.run(key, told, async () => 'told');
    await until(async () => told.retries() === 1 && (await listeners(key)) === 1);
    holder.end();
    expect(await first).toBe('ended');
    expect(await second).toBe('told');
  });

  test('it listens only while somebody waits', async () => {
    const lock = waitingLock(port, await newSubscriber(), options());
    const key = newKey();
    const [one, other] = [work(), work()];
    const first = lock.run(key, unwatched, one.run);
    await one.begun;
    expect(await listeners(key)).toBe(0);
    const second = lock.run(key, unwatched, other.run);
    await until(async () => (await listeners(key)) === 1);
    one.end();
    await other.begun;
    await until(async () => (await listeners(key)) === 0);
    other.end();
    await Promise.all([first, second]);
  });

  test('a subscriber that subscribes again by itself is refused', async () => {
    const subscriber = redis.duplicate();
    expect(() => waitingLock(port, subscriber, options())).toThrow(MisuseError);
  });
});

test('the two locks of a shop do not share their keys, and close together', async () => {
  const opened = publishedLocks(port, await newSubscriber(), {
    prefix,
    spin: { leaseMs: NEVER_ENDS_MS, pauseMs: 1 },
    waiting: { leaseMs: NEVER_ENDS_MS, waitMs: NEVER_ENDS_MS },
    onTrouble: () => undefined,
  });
  const key = newKey();
  const [spinning, waiting] = [work(), work()];
  const held = [
    opened.spin.run(key, unwatched, spinning.run),
    opened.waiting.run(key, unwatched, waiting.run),
  ];
  await Promise.all([spinning.begun, waiting.begun]);
  opened.close();
  expect(await opened.spin.run(key, unwatched, spinning.run)).toEqual(refused('lock-timeout'));
  expect(await opened.waiting.run(key, unwatched, waiting.run)).toEqual(refused('lock-timeout'));
  spinning.end();
  waiting.end();
  expect(await Promise.all(held)).toEqual(['ended', 'ended']);
});
