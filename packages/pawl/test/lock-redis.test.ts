import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import { newRedisServer } from '../../../test/own-server.ts';
import { newRedis } from '../../../test/stores.ts';
import { ioredisPort, ioredisSubscriber } from '../src/adapters/ioredis.ts';
import {
  type DistributedLockOptions,
  distributedLocks,
  type LockEvent,
  type LockLease,
  type RedisPort,
  type RedisSubscriber,
  redisLockStore,
  StoreError,
  TOKENS_PER_GRANT,
} from '../src/index.ts';

const SAFE = {
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  lazyConnect: true,
  retryStrategy: () => 20,
};
/** Nobody's lease ends in a test that does not mean it to. */
const LONG_MS = 60_000;

const { redis: observer } = newRedis();
beforeAll(() => observer.connect());
afterAll(() => observer.quit());

interface ProcessOptions extends DistributedLockOptions {
  readonly url?: string;
  readonly prefix: string;
  /** What stands between the library and the server. */
  readonly port?: (port: RedisPort) => RedisPort;
  readonly subscriber?: (subscriber: RedisSubscriber) => RedisSubscriber;
}

/** What a process of its own would be: its connections, its line for every key. */
async function newProcess({
  url = inject('redisUrl'),
  prefix,
  port,
  subscriber,
  ...options
}: ProcessOptions) {
  const redis = new Redis(url, SAFE);
  const listener = redis.duplicate({ autoResubscribe: false });
  for (const client of [redis, listener]) {
    client.on('error', () => undefined);
    await client.connect();
    onTestFinished(() => client.disconnect());
  }
  const events: LockEvent[] = [];
  const commands = ioredisPort(redis, { commandTimeoutMs: 5_000 });
  const told = ioredisSubscriber(listener);
  const store = redisLockStore(port?.(commands) ?? commands, subscriber?.(told) ?? told, { prefix });
  const locks = distributedLocks(store, { ...options, onEvent: (event) => events.push(event) });
  return {
    locks,
    redis,
    listener,
    kinds: () => events.map(({ kind }) => kind),
    /** As its end would: both connections are closed by the system. */
    die() {
      redis.disconnect();
      listener.disconnect();
    },
  };
}

function newPrefix(): string {
  return `lock-${randomBytes(6).toString('hex')}:`;
}

/** Work that holds a lock until it is told to end. */
function holding(locks: { run: Awaited<ReturnType<typeof newProcess>>['locks']['run'] }, key: string) {
  const held = Promise.withResolvers<LockLease>();
  const end = Promise.withResolvers<void>();
  const ended = locks.run(key, async (lease) => {
    held.resolve(lease);
    await end.promise;
    return 'held';
  });
  ended.catch(held.reject);
  return {
    held: held.promise,
    end: async () => {
      end.resolve();
      return ended;
    },
  };
}

/** How many stand in the queue of `key`. */
function queued(prefix: string, key: string, redis = observer): Promise<number> {
  return redis.zcard(`${prefix}{${key}}:queue`);
}

function counting(count: { commands: number }) {
  return (port: RedisPort): RedisPort => ({
    command: (...args) => {
      count.commands++;
      return port.command(...args);
    },
  });
}

/** A subscriber whose connection loses the messages of which `loses` says so. */
function losing(loses: () => boolean) {
  return (subscriber: RedisSubscriber): RedisSubscriber => ({
    subscribe: (channel, listener) =>
      subscriber.subscribe(channel, {
        ...{ listening: () => listener.listening(), lost: () => listener.lost() },
        message: (text) => {
          if (!loses()) listener.message(text);
        },
      }),
  });
}

describe('where nobody else wants the lock', () => {
  test('it costs two round trips', async () => {
    const count = { commands: 0 };
    const { locks } = await newProcess({ prefix: newPrefix(), port: counting(count) });
    await locks.run('warm', async () => undefined);
    count.commands = 0;
    expect(await locks.run('key', async () => 'done')).toBe('done');
    expect(count.commands).toBe(2);
  });

  test('what many ask for at once goes to the server together', async () => {
    const count = { commands: 0 };
    const { locks } = await newProcess({ prefix: newPrefix(), port: counting(count) });
    await locks.run('warm', async () => undefined);
    count.commands = 0;
    await together(250, (index) => locks.run(`key ${index}`, async () => undefined));
    // 32 in one script at most: eight scripts, twice, and some more where answers come apart.
    expect(count.commands).toBeLessThanOrEqual(50);
  });

  test('each piece of work has a token greater than all before, also when the server is flushed in between', async () => {
    const server = await newRedisServer();
    const { locks, redis } = await newProcess({ url: server.url, prefix: newPrefix() });
    const tokens: number[] = [];
    for (let round = 0; round < 20; round++) {
      await together(5, () => locks.run('key', async ({ token }) => tokens.push(token)));
      if (round % 5 === 4) await redis.flushall();
    }
    expect(tokens).toHaveLength(100);
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
  });

  test('tokens go on from the last one, when the clock of the server is behind it', async () => {
    const prefix = newPrefix();
    const { locks } = await newProcess({ prefix });
    const ahead = (Date.now() + 3_600_000) * 1_000;
    await observer.set(`${prefix}{key}`, `${ahead}0`, 'PX', LONG_MS);
    const tokens: number[] = [];
    for (let round = 0; round < 3; round++) await locks.run('key', async ({ token }) => tokens.push(token));
    expect(tokens).toEqual([1, 17, 33].map((step) => ahead + step));
  });

  test('a key that holds something else fails its own caller alone', async () => {
    const prefix = newPrefix();
    const { locks } = await newProcess({ prefix });
    await observer.hset(`${prefix}{poisoned}`, 'field', 'value');
    const outcomes = await Promise.allSettled(
      ['a', 'poisoned', 'b'].map((key) => locks.run(key, async () => key)),
    );
    expect(
      outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code)),
    ).toEqual(['a', 'REJECTED', 'b']);
  });

  test('what goes to the server together with such a key is answered as if it had gone alone', async () => {
    const prefix = newPrefix();
    const { locks, kinds } = await newProcess({ prefix });
    await observer.hset(`${prefix}{poisoned}`, 'field', 'value');
    const holder = holding(locks, 'key');
    await holder.held;
    const ended = holder.end();
    // In one turn of the event loop: the lock is given back, then the other is asked for.
    for (let tick = 0; tick < 20; tick++) await undefined;
    await expect(locks.run('poisoned', async () => 'ran')).rejects.toMatchObject({ code: 'REJECTED' });
    expect(await ended).toBe('held');
    expect(kinds()).toEqual([]);
  });
});

describe('while somebody holds the lock', () => {
  test('who waits does not ask again: he is told', async () => {
    const prefix = newPrefix();
    const count = { commands: 0 };
    const first = await newProcess({ prefix, leaseMs: LONG_MS });
    const second = await newProcess({ prefix, leaseMs: LONG_MS, waitMs: LONG_MS, port: counting(count) });
    const holder = holding(first.locks, 'key');
    await holder.held;
    const waits = together(10, () => second.locks.run('key', async ({ token }) => token));
    await until(async () => (await queued(prefix, 'key')) === 1);
    const asked = count.commands;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(count.commands).toBe(asked);
    await holder.end();
    expect(await waits).toHaveLength(10);
    // Told, and not asked for: all that it sends is that it gives the lock back.
    expect(count.commands).toBe(asked + 1);
  });

  test('processes are served in the order of their coming', async () => {
    const prefix = newPrefix();
    const holder = holding((await newProcess({ prefix })).locks, 'key');
    await holder.held;
    const order: number[] = [];
    const waits: Promise<unknown>[] = [];
    for (let place = 1; place <= 4; place++) {
      const { locks } = await newProcess({ prefix });
      waits.push(locks.run('key', async () => order.push(place)));
      await until(async () => (await queued(prefix, 'key')) === place);
    }
    await holder.end();
    await Promise.all(waits);
    expect(order).toEqual([1, 2, 3, 4]);
  });

  test('a process has sixteen turns of its own, then it stands behind those who wait', async () => {
    const prefix = newPrefix();
    const [first, second] = [await newProcess({ prefix }), await newProcess({ prefix })];
    const order: string[] = [];
    const holder = holding(first.locks, 'key');
    await holder.held;
    const waits = [
      ...Array.from({ length: 40 }, () => first.locks.run('key', async () => order.push('first'))),
      ...Array.from({ length: 20 }, () => second.locks.run('key', async () => order.push('second'))),
    ];
    await until(async () => (await queued(prefix, 'key')) === 1);
    await holder.end();
    await Promise.all(waits);
    const turns = order
      .join(' ')
      .match(/(first|second)( \1)*/g)
      ?.map((run) => run.split(' ').length);
    // One of the first sixteen was the holder.
    expect(turns).toEqual([TOKENS_PER_GRANT - 1, 16, 16, 4, 9]);
  });

  test('a waiter whose process has died is passed over at once, however long the lease', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: LONG_MS, waitMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const dead = [await newProcess(options), await newProcess(options)];
    for (const [index, { locks }] of dead.entries()) {
      locks.run('key', async () => undefined).catch(() => undefined);
      await until(async () => (await queued(prefix, 'key')) === index + 1);
    }
    const alive = (await newProcess(options)).locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 3);
    for (const { die } of dead) die();
    const channels = `${prefix}granted:*`;
    await until(async () => ((await observer.pubsub('CHANNELS', channels)) as string[]).length === 2);
    await holder.end();
    expect(await alive).toBe('served');
  });

  test('of a waiter that is connected, and that nothing has been heard of for a lease, nobody waits for another', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: 600, waitMs: LONG_MS };
    const first = await newProcess(options);
    const holder = holding(first.locks, 'key');
    await holder.held;
    let frozen = false;
    // Its commands go nowhere, and it hears nothing: as a process that stands still.
    const still = await newProcess({
      ...options,
      port: (port) => ({
        command: (...args) => (frozen ? new Promise(() => undefined) : port.command(...args)),
      }),
      subscriber: losing(() => frozen),
    });
    const served: string[] = [];
    void still.locks.run('key', async () => served.push('still'));
    await until(async () => (await queued(prefix, 'key')) === 1);
    frozen = true;
    const next = (await newProcess(options)).locks.run('key', async () => served.push('next'));
    await until(async () => (await queued(prefix, 'key')) === 2);
    await until(async () => {
      const [name = ''] = await observer.zrange(`${prefix}{key}:queue`, '0', '0');
      const [alive = '0'] = ((await observer.hget(`${prefix}{key}:waiting`, name)) ?? '').split(' ');
      return Number(alive) < Date.now() * 1_000;
    });
    const messages: string[] = [];
    const listener = observer.duplicate({ autoResubscribe: false });
    onTestFinished(() => listener.disconnect());
    await listener.connect();
    await listener.psubscribe(`${prefix}granted:*`);
    listener.on('pmessage', (_pattern, channel) => messages.push(channel));
    await holder.end();
    await next;
    expect(served).toEqual(['next']);
    expect(messages).toHaveLength(1);
  });

  test('a message that is lost costs a lease at most', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: 900, waitMs: LONG_MS };
    let lost = 0;
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const second = await newProcess({ ...options, subscriber: losing(() => ++lost > 0) });
    const waits = second.locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 1);
    await holder.end();
    expect(await waits).toBe('served');
    expect(lost).toBeGreaterThan(0);
    expect(second.kinds()).toEqual([]);
  });

  test('a listening connection that is cut is opened again, and what was missed is looked for at once', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: LONG_MS, waitMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const second = await newProcess(options);
    const waits = second.locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 1);
    const closed = new Promise((resolve) => second.listener.once('close', resolve));
    second.listener.stream.destroy();
    await closed;
    await holder.end();
    expect(await waits).toBe('served');
  });

  test('a connection that is cut while somebody waits is opened again, and he has his turn', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: 900, waitMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const second = await newProcess(options);
    const waits = second.locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 1);
    for (const client of [second.redis, second.listener]) client.stream.destroy();
    await holder.end();
    expect(await waits).toBe('served');
  });

  test('who gives up waiting leaves nothing behind, and nobody waits longer for it', async () => {
    const prefix = newPrefix();
    const holder = holding((await newProcess({ prefix, leaseMs: LONG_MS })).locks, 'key');
    await holder.held;
    const impatient = await newProcess({ prefix, leaseMs: LONG_MS, waitMs: 50 });
    const patient = await newProcess({ prefix, leaseMs: LONG_MS, waitMs: LONG_MS });
    expect(await impatient.locks.run('key', async () => 'ran')).toEqual({
      outcome: 'refused',
      reason: 'lock-timeout',
    });
    expect(await queued(prefix, 'key')).toBe(0);
    expect(await observer.hlen(`${prefix}{key}:waiting`)).toBe(0);
    const waits = patient.locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 1);
    await holder.end();
    expect(await waits).toBe('served');
  });

  test('a message of a grant that has ended since is not taken for another one', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: 600, waitMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    let cut = false;
    let heldUp: (() => void)[] | undefined = [];
    // For longer than a lease nothing goes out; what comes in comes late.
    const late = await newProcess({
      ...options,
      port: (port) => ({
        command: (...args) =>
          cut ? Promise.reject(new StoreError('UNAVAILABLE', 'none', 'away')) : port.command(...args),
      }),
      subscriber: (subscriber) => ({
        subscribe: (channel, listener) =>
          subscriber.subscribe(channel, {
            ...{ listening: () => listener.listening(), lost: () => listener.lost() },
            message: (text) => {
              if (heldUp === undefined) listener.message(text);
              else heldUp.push(() => listener.message(text));
            },
          }),
      }),
    });
    const order: string[] = [];
    const served = late.locks.run('key', async () => order.push('late'));
    await until(async () => (await queued(prefix, 'key')) === 1);
    cut = true;
    await holder.end();
    await until(() => heldUp?.length === 1);
    const successor = holding((await newProcess(options)).locks, 'key');
    await successor.held;
    cut = false;
    await until(async () => (await queued(prefix, 'key')) === 1);
    const [message] = heldUp;
    heldUp = undefined;
    message?.();
    await new Promise((resolve) => setImmediate(resolve));
    order.push('successor');
    await successor.end();
    await served;
    expect(order).toEqual(['successor', 'late']);
    expect(late.kinds()).toEqual([]);
  });

  test('a lock that is granted to who has just given up goes on to the next', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const messages: (() => void)[] = [];
    // Its messages are held up until it has given up.
    const late = await newProcess({
      ...options,
      waitMs: 200,
      subscriber: (subscriber) => ({
        subscribe: (channel, listener) =>
          subscriber.subscribe(channel, {
            ...{ listening: () => listener.listening(), lost: () => listener.lost() },
            message: (text) => messages.push(() => listener.message(text)),
          }),
      }),
    });
    const gaveUp = late.locks.run('key', async () => 'ran');
    await until(async () => (await queued(prefix, 'key')) === 1);
    const next = (await newProcess({ ...options, waitMs: LONG_MS })).locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 2);
    await holder.end();
    await until(() => messages.length === 1);
    expect(await gaveUp).toEqual({ outcome: 'refused', reason: 'lock-timeout' });
    for (const message of messages) message();
    expect(await next).toBe('served');
  });
});

describe('who waits', () => {
  test('for longer than a lease keeps his place', async () => {
    const prefix = newPrefix();
    const [long, short] = [LONG_MS, 600].map((leaseMs) => ({ prefix, leaseMs, waitMs: LONG_MS }));
    const holder = holding((await newProcess({ ...long, prefix })).locks, 'key');
    await holder.held;
    const order: string[] = [];
    const served = [];
    const alive = async () => {
      const [name = ''] = await observer.zrange(`${prefix}{key}:queue`, '0', '0');
      return Number((await observer.hget(`${prefix}{key}:waiting`, name))?.split(' ')[0]);
    };
    for (const [index, name] of ['first', 'second'].entries()) {
      const { locks } = await newProcess({ ...(index === 0 ? short : long), prefix });
      served.push(locks.run('key', async () => order.push(name)));
      await until(async () => (await queued(prefix, 'key')) === index + 1);
    }
    const untilUs = await alive();
    await until(async () => (await alive()) > untilUs + 600_000);
    await holder.end();
    await Promise.all(served);
    expect(order).toEqual(['first', 'second']);
  });

  test('and cannot listen looks often, and is not passed over for it', async () => {
    const options = { prefix: newPrefix(), leaseMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    const count = { commands: 0 };
    const deaf = await newProcess({
      ...options,
      waitMs: 3_000,
      port: counting(count),
      subscriber: () => ({ subscribe: () => ({ stop: () => undefined, replace: () => undefined }) }),
    });
    const served = deaf.locks.run('key', async () => 'served');
    await until(() => count.commands >= 2);
    await holder.end();
    expect(await served).toBe('served');
  });

  test('in a place that is not known any more holds nothing: what is granted to it goes on to the next', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: LONG_MS };
    const holder = holding((await newProcess(options)).locks, 'key');
    await holder.held;
    // A step of its own was late, and put it into the queue after it had left.
    const [channel = ''] = (await observer.pubsub('CHANNELS', `${prefix}granted:*`)) as string[];
    const forgotten = `${channel.slice(`${prefix}granted:`.length)}:999`;
    await observer.zadd(`${prefix}{key}:queue`, 1, forgotten);
    await observer.hset(`${prefix}{key}:waiting`, forgotten, `${9e15} ${LONG_MS} told`);
    await observer.setrange(`${prefix}{key}`, 16, '+');
    const next = await newProcess({ ...options, waitMs: LONG_MS });
    const served = next.locks.run('key', async () => 'served');
    await until(async () => (await queued(prefix, 'key')) === 2);
    await holder.end();
    expect(await served).toBe('served');
  });
});

describe('who was connected all the time', () => {
  test('and hears nothing has his connection replaced, and is told again', async () => {
    const prefix = newPrefix();
    const options = { prefix, leaseMs: 900, waitMs: LONG_MS };
    const first = await newProcess(options);
    let deaf = true;
    let heard = 0;
    let replaced = 0;
    const second = await newProcess({
      ...options,
      subscriber: (subscriber) => ({
        subscribe: (channel, listener) => {
          const subscription = subscriber.subscribe(channel, {
            ...{ listening: () => listener.listening(), lost: () => listener.lost() },
            message: (text) => {
              if (deaf) return;
              heard++;
              listener.message(text);
            },
          });
          return {
            stop: () => subscription.stop(),
            replace: () => {
              replaced++;
              deaf = false;
              subscription.replace();
            },
          };
        },
      }),
    });
    const handOver = async () => {
      const holder = holding(first.locks, 'key');
      await holder.held;
      const waits = second.locks.run('key', async () => 'served');
      await until(async () => (await queued(prefix, 'key')) === 1);
      await holder.end();
      expect(await waits).toBe('served');
    };
    await handOver();
    await until(() => replaced === 1);
    await until(async () => {
      await handOver();
      return heard > 0;
    });
    expect(replaced).toBe(1);
  });

  test('and whose lock could not be given back gives it back as soon as it can be, not at the end of the lease', async () => {
    const options = { prefix: newPrefix(), leaseMs: LONG_MS, waitMs: LONG_MS };
    let lost = 0;
    const first = await newProcess({
      ...options,
      port: (port) => ({
        async command(...args) {
          if (args.includes('free') && lost++ === 0)
            throw new StoreError('CONNECTION_LOST', 'unknown', 'lost');
          return port.command(...args);
        },
      }),
    });
    expect(await first.locks.run('key', async () => 'done')).toBe('done');
    expect(first.kinds()).toEqual(['not-released']);
    const second = await newProcess(options);
    expect(await second.locks.run('key', async () => 'served')).toBe('served');
  });

  test('and whose request came late, when he had given up, keeps nothing of it', async () => {
    const options = { prefix: newPrefix(), leaseMs: LONG_MS };
    const late = Promise.withResolvers<void>();
    let asked = 0;
    const first = await newProcess({
      ...options,
      waitMs: 50,
      port: (port) => ({
        async command(...args) {
          if (args.includes('take') && asked++ === 0) await late.promise;
          return port.command(...args);
        },
      }),
    });
    expect(await first.locks.run('key', async () => 'ran')).toMatchObject({ reason: 'lock-timeout' });
    late.resolve();
    const second = await newProcess({ ...options, waitMs: LONG_MS });
    expect(await second.locks.run('key', async () => 'served')).toBe('served');
  });
});

describe('when Redis fails', () => {
  test('down, it is an error at once, and the work does not run', async () => {
    const server = await newRedisServer();
    const { locks } = await newProcess({ url: server.url, prefix: newPrefix() });
    await server.kill();
    const run = locks.run('key', () => Promise.reject(new Error('the work ran')));
    await expect(run).rejects.toBeInstanceOf(StoreError);
  });

  test('flushed while the lock is held: its holder is told, and who waits goes on', async () => {
    const server = await newRedisServer();
    const options = { url: server.url, prefix: newPrefix(), leaseMs: 600, waitMs: LONG_MS };
    const [first, second] = [await newProcess(options), await newProcess(options)];
    const holder = holding(first.locks, 'key');
    const { signal, token } = await holder.held;
    const waits = second.locks.run('key', async (lease) => lease.token);
    await until(async () => (await queued(options.prefix, 'key', second.redis)) === 1);
    const lost = new Promise((resolve) => signal.addEventListener('abort', resolve));
    await second.redis.flushall();
    await lost;
    expect(await waits).toBeGreaterThan(token);
    expect(signal.reason).toMatchObject({ name: 'LeaseLostError', code: 'LEASE_LOST' });
    expect(await holder.end()).toBe('held');
    expect(first.kinds()).toEqual(['lease-lost']);
  });

  test('killed and started again empty: who waits has his turn, and the holder is told', async () => {
    const server = await newRedisServer();
    const options = { url: server.url, prefix: newPrefix(), leaseMs: 600, waitMs: LONG_MS };
    const [first, second] = [await newProcess(options), await newProcess(options)];
    const holder = holding(first.locks, 'key');
    const { signal } = await holder.held;
    const waits = second.locks.run('key', async () => 'served');
    await until(async () => (await queued(options.prefix, 'key', second.redis)) === 1);
    await server.kill();
    await server.start('removed');
    expect(await waits).toBe('served');
    await until(() => signal.aborted);
    await holder.end();
    expect(first.kinds()).toContain('lease-lost');
  });

  test('killed while somebody waits whose patience ends meanwhile: he is told of the failure', async () => {
    const server = await newRedisServer();
    const options = { url: server.url, prefix: newPrefix(), leaseMs: 600 };
    const first = await newProcess(options);
    const second = await newProcess({ ...options, waitMs: 1_500 });
    const holder = holding(first.locks, 'key');
    await holder.held;
    const waits = second.locks.run('key', () => Promise.reject(new Error('the work ran')));
    const refused = expect(waits).rejects.toBeInstanceOf(StoreError);
    await until(async () => (await queued(options.prefix, 'key', second.redis)) === 1);
    await server.kill();
    await refused;
    await holder.end();
    expect(first.kinds()).toContain('not-released');
  });

  test('an acquisition whose answer is lost is not held by nobody: it is given back when Redis can be asked', async () => {
    const prefix = newPrefix();
    let lost = 0;
    const first = await newProcess({
      prefix,
      leaseMs: LONG_MS,
      port: (port) => ({
        async command(...args) {
          const answer = await port.command(...args);
          if (args[0] === 'EVALSHA' && lost++ === 0)
            throw new StoreError('CONNECTION_LOST', 'unknown', 'lost');
          return answer;
        },
      }),
    });
    await expect(first.locks.run('key', async () => 'ran')).rejects.toMatchObject({ effect: 'unknown' });
    const second = await newProcess({ prefix, waitMs: LONG_MS });
    expect(await second.locks.run('key', async () => 'served')).toBe('served');
  });

  test('without memory, it refuses to lock, and still takes back what was locked', async () => {
    const server = await newRedisServer();
    const { locks, redis, kinds } = await newProcess({ url: server.url, prefix: newPrefix() });
    const holder = holding(locks, 'key');
    await holder.held;
    await redis.config('SET', 'maxmemory', '1');
    expect(await holder.end()).toBe('held');
    expect(kinds()).toEqual([]);
    expect(await redis.dbsize()).toBe(0);
    await expect(locks.run('another', async () => 'ran')).rejects.toMatchObject({ code: 'REJECTED' });
  });

  test('its scripts forgotten, it is sent them again', async () => {
    const server = await newRedisServer();
    const { locks, redis } = await newProcess({ url: server.url, prefix: newPrefix() });
    await locks.run('key', async () => redis.script('FLUSH'));
    expect(await locks.run('key', async () => 'done')).toBe('done');
  });
});

test('a thousand keys used once, and fifty that were fought for, leave nothing in Redis after their leases', async () => {
  const server = await newRedisServer();
  const options = { url: server.url, prefix: newPrefix(), leaseMs: 500, waitMs: LONG_MS };
  const [first, second] = [await newProcess(options), await newProcess(options)];
  await together(1_000, (index) => first.locks.run(`key ${index}`, async () => undefined));
  await together(500, async (index) => {
    const { locks } = index % 2 === 0 ? first : second;
    await locks.run(`hot ${index % 50}`, async () => undefined);
  });
  expect(await first.redis.dbsize()).toBeGreaterThan(0);
  await until(async () => (await first.redis.dbsize()) === 0);
});

test('a holder that was away for longer than its lease does not give back the lock of its successor', async () => {
  const prefix = newPrefix();
  let cut = false;
  const options = { prefix, leaseMs: 500, waitMs: LONG_MS };
  const first = await newProcess({
    ...options,
    port: (port) => ({
      command: (...args) =>
        cut ? Promise.reject(new StoreError('CONNECTION_LOST', 'unknown', 'away')) : port.command(...args),
    }),
  });
  const old = holding(first.locks, 'key');
  const { token } = await old.held;
  cut = true;
  const successor = holding((await newProcess(options)).locks, 'key');
  expect((await successor.held).token).toBeGreaterThan(token);
  cut = false;
  await old.end();
  expect(first.kinds()).toContain('lease-lost');
  const owner = await observer.get(`${prefix}{key}`);
  const third = await newProcess({ ...options, waitMs: 0 });
  expect(await third.locks.run('key', async () => 'ran')).toMatchObject({ reason: 'lock-timeout' });
  expect(await observer.get(`${prefix}{key}`)).toBe(owner);
  await successor.end();
});
