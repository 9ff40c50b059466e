import type { Socket } from 'node:net';
import { createClient } from '@redis/client';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { newRedisServer } from '../../../test/own-server.ts';
import { type CommitFate, type DatabaseProxy, isRedisCommand, startProxy } from '../../../test/proxy.ts';
import { newRedis } from '../../../test/stores.ts';
import { ioredisPort } from '../src/adapters/ioredis.ts';
import { nodeRedisPort } from '../src/adapters/node-redis.ts';
import { MisuseError, type RedisPort } from '../src/index.ts';
import { redisScript } from '../src/redis/script.ts';

const DRIVERS = ['ioredis', 'node-redis'] as const;
type Driver = (typeof DRIVERS)[number];

const SAFE_IOREDIS = {
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
};
/** Long enough for every answer that comes. */
const LIMIT_MS = 10_000;
/** For answers that do not come. */
const SHORT_LIMIT_MS = 200;

const { redis, prefix } = newRedis();
let keys = 0;

beforeAll(() => redis.connect());
afterAll(() => redis.quit());

interface TestClient {
  readonly port: RedisPort;
  connect(): Promise<unknown>;
  isReady(): boolean;
  /** Until it has a connection again. */
  reconnected(): Promise<void>;
}

/** A safe client, not connected, and its port; closed with the test. */
function newClient(
  driver: Driver,
  url: string,
  {
    commandTimeoutMs = LIMIT_MS,
    silentHandshakeMs,
  }: { commandTimeoutMs?: number; silentHandshakeMs?: number } = {},
): TestClient {
  const client = driver === 'ioredis' ? newIoredis() : newNodeRedis();
  return { ...client, reconnected: () => until(client.isReady) };

  function newIoredis() {
    const client = new Redis(url, {
      ...SAFE_IOREDIS,
      lazyConnect: true,
      retryStrategy: () => 10,
      // A server that loads is spoken to all the same.
      enableReadyCheck: false,
      ...(silentHandshakeMs && { socketTimeout: silentHandshakeMs }),
    });
    client.on('error', () => undefined);
    onTestFinished(() => client.disconnect());
    return {
      port: ioredisPort(client, { commandTimeoutMs }),
      connect: () => client.connect(),
      // While it closes, it is still called ready.
      isReady: () => client.status === 'ready' && client.stream.writable,
    };
  }

  function newNodeRedis() {
    const client = createClient({
      url,
      disableOfflineQueue: true,
      ...(silentHandshakeMs && { pingInterval: silentHandshakeMs / 2 }),
      socket: { reconnectStrategy: () => 10, ...(silentHandshakeMs && { socketTimeout: silentHandshakeMs }) },
    });
    client.on('error', () => undefined);
    onTestFinished(() => (client.isOpen ? client.destroy() : undefined));
    return {
      port: nodeRedisPort(client, { commandTimeoutMs }),
      connect: () => client.connect(),
      isReady: () => client.isReady,
    };
  }
}

async function connected(...args: Parameters<typeof newClient>): Promise<TestClient> {
  const client = newClient(...args);
  await client.connect();
  return client;
}

async function proxyTo(
  command: string,
  fateOf?: (arrived: number) => CommitFate,
): Promise<DatabaseProxy & { readonly url: string; readonly arrived: () => number }> {
  let arrived = 0;
  const count = (number: number) => {
    arrived = number;
    return fateOf?.(number) ?? 'passes';
  };
  const proxy = await startProxy(inject('redisUrl'), count, isRedisCommand(command));
  onTestFinished(() => proxy.close());
  const url = Object.assign(new URL(inject('redisUrl')), { port: String(proxy.port) }).href;
  return { ...proxy, url, arrived: () => arrived };
}

const onlyTheFirst =
  (fate: CommitFate) =>
  (arrived: number): CommitFate =>
    arrived === 1 ? fate : 'passes';

const newKey = () => `${prefix}${++keys}`;

async function newStock(): Promise<string> {
  const key = newKey();
  await redis.set(key, 10);
  return key;
}

const lost = { code: 'CONNECTION_LOST', effect: 'unknown' };
const unavailable = { code: 'UNAVAILABLE', effect: 'none' };
const rejected = { code: 'REJECTED', effect: 'none' };

describe('without the adapters (F10)', () => {
  async function defaultIoredis(url: string): Promise<Redis> {
    const client = new Redis(url, { lazyConnect: true });
    client.on('error', () => undefined);
    onTestFinished(() => client.disconnect());
    await client.connect();
    return client;
  }

  test('ioredis sends a command again whose answer is lost: one DECR takes two', async () => {
    const proxy = await proxyTo('decr', onlyTheFirst('answer-lost'));
    const stock = await newStock();
    expect(await (await defaultIoredis(proxy.url)).decr(stock)).toBe(8);
    expect(proxy.arrived()).toBe(2);
  });

  test('ioredis tells a SET NX that has won that it lost', async () => {
    const proxy = await proxyTo('set', onlyTheFirst('answer-lost'));
    const key = newKey();
    expect(await (await defaultIoredis(proxy.url)).set(key, 'me', 'NX')).toBeNull();
    expect(await redis.get(key)).toBe('me');
  });

  test('node-redis keeps a command that comes while it is not connected, and sends it later', async () => {
    const proxy = await proxyTo('PING', () => 'request-lost');
    const client = createClient({ url: proxy.url, socket: { reconnectStrategy: () => 10 } });
    client.on('error', () => undefined);
    onTestFinished(() => client.destroy());
    await client.connect();
    const stock = await newStock();
    await expect(client.ping()).rejects.toThrow();
    expect(client.isReady).toBe(false);
    expect(await client.decr(stock)).toBe(9);
  });

  test('one timer for an answer goes off when the process has stood still, with the answer there', async () => {
    await redis.ping();
    const timer = new Promise((resolve) => setTimeout(resolve, SHORT_LIMIT_MS, 'too late'));
    const answer = redis.get(newKey());
    standStill(2 * SHORT_LIMIT_MS);
    expect(await Promise.race([timer, answer])).toBe('too late');
  });
});

describe('a client that is not safe is refused', () => {
  const options = { commandTimeoutMs: LIMIT_MS };

  test('ioredis', () => {
    const port = (settings: object) => ioredisPort(new Redis({ ...settings, lazyConnect: true }), options);
    expect(() => port({})).toThrow(MisuseError);
    for (const name of Object.keys(SAFE_IOREDIS)) {
      expect(() => port({ ...SAFE_IOREDIS, [name]: undefined }), name).toThrow(MisuseError);
    }
    expect(() => port({ ...SAFE_IOREDIS, stringNumbers: true })).toThrow(MisuseError);
    expect(() => port(SAFE_IOREDIS)).not.toThrow();
  });

  test('node-redis', () => {
    expect(() => nodeRedisPort(createClient(), options)).toThrow(MisuseError);
    expect(() => nodeRedisPort(createClient({ disableOfflineQueue: false }), options)).toThrow(MisuseError);
    expect(() => nodeRedisPort(createClient({ disableOfflineQueue: true }), options)).not.toThrow();
  });
});

describe('what ioredis is given in one turn of the event loop', () => {
  const COMMANDS = 70;

  /** A client, and how many commands were in each of the writes to its socket. */
  async function watched() {
    const client = new Redis(inject('redisUrl'), { ...SAFE_IOREDIS, lazyConnect: true });
    onTestFinished(() => client.disconnect());
    await client.connect();
    const writes: number[] = [];
    const socket = client.stream as Socket & Required<Pick<Socket, '_writev'>>;
    const [writeOne, writeMany] = [socket._write.bind(socket), socket._writev.bind(socket)];
    socket._write = (...args) => {
      writes.push(1);
      writeOne(...args);
    };
    socket._writev = (chunks, callback) => {
      writes.push(chunks.length);
      writeMany(chunks, callback);
    };
    return { client, writes, port: ioredisPort(client, { commandTimeoutMs: LIMIT_MS }) };
  }

  test('without the adapter it writes one by one', async () => {
    const { client, writes } = await watched();
    await Promise.all(Array.from({ length: COMMANDS }, () => client.ping()));
    expect(writes).toEqual(Array(COMMANDS).fill(1));
  });

  test('with it, it writes together, no more than 32, in their order', async () => {
    const { port, writes } = await watched();
    const list = newKey();
    const lengths = await Promise.all(
      Array.from({ length: COMMANDS }, (_, index) => port.command('RPUSH', list, index)),
    );
    expect(writes).toEqual([32, 32, 6]);
    expect(lengths).toEqual(Array.from({ length: COMMANDS }, (_, index) => index + 1));
    expect(await redis.lrange(list, 0, -1)).toEqual(
      Array.from({ length: COMMANDS }, (_, index) => `${index}`),
    );
  });

  test('one that is alone is written before the turn ends', async () => {
    const { port, writes } = await watched();
    const answer = port.command('PING');
    await new Promise<void>((resolve) => process.nextTick(resolve));
    expect(writes).toEqual([1]);
    expect(await answer).toBe('PONG');
  });

  test('where the connection is replaced in the middle of it, nothing is sent by the next', async () => {
    const { client, port } = await watched();
    const stock = await newStock();
    const first = expect(port.command('DECR', stock)).rejects.toMatchObject(lost);
    client.stream.destroy();
    await expect(port.command('DECR', stock)).rejects.toMatchObject(unavailable);
    await first;
    await until(() => client.status === 'ready');
    expect(await port.command('GET', stock)).toBe('10');
    expect(await Promise.all([port.command('DECR', stock), port.command('DECR', stock)])).toEqual([9, 8]);
  });
});

describe.each(DRIVERS)('the %s adapter', (driver) => {
  test('a command whose answer is lost is unknown, and is not sent again', async () => {
    const proxy = await proxyTo('DECR', onlyTheFirst('answer-lost'));
    const { port, reconnected } = await connected(driver, proxy.url);
    const stock = await newStock();
    await expect(port.command('DECR', stock)).rejects.toMatchObject(lost);
    await reconnected();
    expect(await port.command('GET', stock)).toBe('9');
    expect(proxy.arrived()).toBe(1);
  });

  test('a SET NX whose answer is lost is unknown, and has won', async () => {
    const proxy = await proxyTo('SET', onlyTheFirst('answer-lost'));
    const { port, reconnected } = await connected(driver, proxy.url);
    const key = newKey();
    await expect(port.command('SET', key, 'me', 'NX')).rejects.toMatchObject(lost);
    await reconnected();
    expect(await port.command('GET', key)).toBe('me');
  });

  test('a command that is lost on its way is unknown, and is not sent again', async () => {
    const proxy = await proxyTo('DECR', onlyTheFirst('request-lost'));
    const { port, reconnected } = await connected(driver, proxy.url);
    const stock = await newStock();
    await expect(port.command('DECR', stock)).rejects.toMatchObject(lost);
    await reconnected();
    expect(await port.command('GET', stock)).toBe('10');
    expect(proxy.arrived()).toBe(1);
  });

  test('without a connection nothing is sent, not even later', async () => {
    const proxy = await proxyTo('DECR');
    const { port, connect } = newClient(driver, proxy.url);
    const stock = await newStock();
    await expect(port.command('DECR', stock)).rejects.toMatchObject(unavailable);
    await connect();
    expect(await port.command('GET', stock)).toBe('10');
    expect(proxy.arrived()).toBe(0);
  });

  test('nothing is kept for the next connection while the last is being replaced', async () => {
    const proxy = await proxyTo('PING', () => 'request-lost');
    const { port, reconnected, isReady } = await connected(driver, proxy.url);
    const stock = await newStock();
    await expect(port.command('PING')).rejects.toMatchObject(lost);
    expect(isReady()).toBe(false);
    await expect(port.command('DECR', stock)).rejects.toMatchObject(unavailable);
    await reconnected();
    expect(await port.command('GET', stock)).toBe('10');
  });

  test('a server that was killed and is back is found again, with what it had', async () => {
    const server = await newRedisServer();
    const { port, reconnected } = await connected(driver, server.url);
    await port.command('SET', 'stock', 10);
    const waiting = expect(port.command('BLPOP', 'nothing', 0)).rejects.toMatchObject(lost);
    await server.kill();
    await waiting;
    await expect(port.command('DECR', 'stock')).rejects.toMatchObject(unavailable);
    await server.start('kept');
    await reconnected();
    expect(await port.command('DECR', 'stock')).toBe(9);
    await server.kill();
    await server.start('removed');
    await until(async () => (await port.command('GET', 'stock').catch(() => 'not yet')) === null);
  });

  test('a server that has fallen silent: a command is given up, and may take effect yet', async () => {
    const server = await newRedisServer();
    const { port } = await connected(driver, server.url, { commandTimeoutMs: SHORT_LIMIT_MS });
    await port.command('SET', 'stock', 10);
    await server.pause();
    await expect(port.command('DECR', 'stock')).rejects.toMatchObject(lost);
    // Its port takes connections still, but it is not spoken to before it has spoken.
    await expect(port.command('DECR', 'stock')).rejects.toMatchObject(unavailable);
    await server.resume();
    await until(async () => (await port.command('GET', 'stock').catch(() => 'not yet')) === '9');
  });

  test('a connection that has fallen silent is replaced', async () => {
    const proxy = await proxyTo('DECR');
    const { port, reconnected } = await connected(driver, proxy.url, { commandTimeoutMs: SHORT_LIMIT_MS });
    const stock = await newStock();
    proxy.fallSilent();
    proxy.speakAgain();
    const behind = expect(port.command('GET', stock)).rejects.toMatchObject(lost);
    await expect(port.command('DECR', stock)).rejects.toMatchObject(lost);
    await behind;
    await reconnected();
    expect(await port.command('GET', stock)).toBe('10');
  });

  test('and so is one that was silent from its beginning, with a socketTimeout', async () => {
    const proxy = await proxyTo('DECR');
    const limits = { commandTimeoutMs: SHORT_LIMIT_MS, silentHandshakeMs: SHORT_LIMIT_MS };
    const { port, isReady } = await connected(driver, proxy.url, limits);
    const stock = await newStock();
    proxy.fallSilent();
    await expect(port.command('DECR', stock)).rejects.toMatchObject(lost);
    await until(() => proxy.connections() > 1);
    expect(isReady()).toBe(false);
    proxy.speakAgain();
    await until(async () => (await port.command('GET', stock).catch(() => 'not yet')) === '10');
  });

  test('an answer that came while the process stood still is not too late', async () => {
    const { port } = await connected(driver, inject('redisUrl'), { commandTimeoutMs: SHORT_LIMIT_MS });
    const stock = await newStock();
    const answer = port.command('DECR', stock);
    await written();
    standStill(2 * SHORT_LIMIT_MS);
    expect(await answer).toBe(9);
  });

  describe('an error reply is told by its code', () => {
    test('a command that cannot be carried out has no effect', async () => {
      const { port } = await connected(driver, inject('redisUrl'));
      const list = newKey();
      await redis.rpush(list, 'one');
      await expect(port.command('INCR')).rejects.toMatchObject(rejected);
      await expect(port.command('INCR', list)).rejects.toMatchObject(rejected);
      await expect(port.command('EVALSHA', '0'.repeat(40), 0)).rejects.toMatchObject({
        code: 'UNKNOWN_SCRIPT',
        effect: 'none',
      });
    });

    test('a script that fails keeps what it has written: unknown', async () => {
      const { port } = await connected(driver, inject('redisUrl'));
      const [list, stock] = [newKey(), await newStock()];
      await redis.rpush(list, 'one');
      const text = `redis.call('DECR', KEYS[1]) return redis.call('INCR', KEYS[2])`;
      await expect(port.command('EVAL', text, 2, stock, list)).rejects.toMatchObject({
        code: 'REJECTED',
        effect: 'unknown',
      });
      expect(await redis.get(stock)).toBe('9');
    });

    test('what the server refuses in its state of the moment has no effect, nor has a script', async () => {
      const server = await newRedisServer({ 'busy-reply-threshold': '10' });
      const admin = new Redis(server.url, { lazyConnect: true });
      onTestFinished(() => admin.disconnect());
      await admin.connect();
      await admin.set('stock', 10);
      const { port } = await connected(driver, server.url);
      const decrement = `return redis.call('DECRBY', KEYS[1], ARGV[1])`;
      const expectRefused = async (expected: object) => {
        await expect(port.command('SET', 'stock', 9)).rejects.toMatchObject(expected);
        await expect(port.command('EVAL', decrement, 1, 'stock', 1)).rejects.toMatchObject(expected);
      };

      await admin.config('SET', 'min-replicas-to-write', 1);
      await expectRefused(unavailable); // NOREPLICAS
      await admin.config('SET', 'min-replicas-to-write', 0);

      await admin.config('SET', 'maxmemory', 1);
      await expectRefused(rejected); // OOM
      await admin.config('SET', 'maxmemory', 0);

      await admin.replicaof('127.0.0.1', 1);
      await expectRefused(unavailable); // READONLY
      await admin.config('SET', 'replica-serve-stale-data', 'no');
      await expectRefused(unavailable); // MASTERDOWN
      await admin.replicaof('NO', 'ONE');

      const operator = admin.duplicate();
      onTestFinished(() => operator.disconnect());
      await operator.connect();
      const endless = expect(admin.eval('while true do end', 0)).rejects.toThrow();
      await until(async () => (await operator.ping().catch(() => 'BUSY')) === 'BUSY');
      await expectRefused(unavailable); // BUSY
      await operator.script('KILL');
      await endless;

      await admin.acl('SETUSER', 'reader', 'on', '>secret', '+get', '~*');
      await port.command('AUTH', 'reader', 'secret');
      await expect(port.command('SET', 'stock', 9)).rejects.toMatchObject(rejected); // NOPERM
      await admin.acl('DELUSER', 'reader');
      expect(await admin.get('stock')).toBe('10');
    });

    test('a connection that is not logged in, or not any more, has no effect', async () => {
      const { port } = await connected(driver, inject('redisUrl'));
      const stock = await newStock();
      await expect(port.command('AUTH', 'wrong')).rejects.toMatchObject(unavailable);
      await port.command('RESET');
      await expect(port.command('DECR', stock)).rejects.toMatchObject(unavailable);
      expect(await redis.get(stock)).toBe('10');
    });

    test('a server that loads its data takes nothing yet', async () => {
      const server = await newRedisServer();
      const first = await connected(driver, server.url);
      await first.port.command('EVAL', `for i = 1, 20000 do redis.call('SET', i, i) end`, 0);
      await server.kill();
      // It would load for some seconds, in which it is spoken to a few times; it ends with the test.
      server.start('kept', { 'key-load-delay': '200' }).catch(() => undefined);
      const { port, connect, reconnected } = newClient(driver, server.url);
      connect().catch(() => undefined);
      await reconnected();
      await expect(port.command('SET', 'stock', 9)).rejects.toMatchObject(unavailable);
    });

    test.each([
      ['TRYAGAIN Multiple keys request during rehashing of slot', unavailable],
      ['CLUSTERDOWN The cluster is down', unavailable],
      ['MISCONF Redis is configured to save RDB snapshots, but it is unable to', unavailable],
      ['MOVED 3999 127.0.0.1:6381', rejected],
      ['CROSSSLOT Keys in request do not hash to the same slot', rejected],
      ['BUSYKEY Target key name already exists.', rejected],
      ['unheard of', rejected],
    ])('%s', async (reply, expected) => {
      const proxy = await proxyTo('DECR', () => Buffer.from(`-${reply}\r\n`));
      const { port } = await connected(driver, proxy.url);
      await expect(port.command('DECR', newKey())).rejects.toMatchObject(expected);
    });
  });

  test('arguments arrive as they were given', async () => {
    const { port } = await connected(driver, inject('redisUrl'));
    const texts = ['', 'ü€😀', '\0\r\n$5\r\n', '"\'\\', 'x'.repeat(100_000)];
    for (const text of texts) {
      const key = `${newKey()}${text}`;
      await port.command('SET', key, text);
      expect(await redis.getBuffer(key)).toEqual(Buffer.from(text));
      expect(await port.command('GET', key)).toBe(text);
    }
    expect(await port.command('EVAL', 'return ARGV', 0, 0, -1, 1.5, 9_007_199_254_740_991)).toEqual([
      '0',
      '-1',
      '1.5',
      '9007199254740991',
    ]);
  });

  test('replies have one form, whichever the driver', async () => {
    const { port } = await connected(driver, inject('redisUrl'));
    const reply = `return {1, 'two', {3, {'four', false}}, redis.status_reply('FIVE'), 4503599627370496, true}`;
    expect(await port.command('EVAL', reply, 0)).toEqual([
      1,
      'two',
      [3, ['four', null]],
      'FIVE',
      4_503_599_627_370_496,
      1,
    ]);
    expect(await port.command('EVAL', 'return false', 0)).toBeNull();
    expect(await port.command('EVAL', 'return {}', 0)).toEqual([]);
    expect(await port.command('SET', newKey(), 1, 'PX', 60_000, 'NX')).toBe('OK');
    const [hash, scores] = [newKey(), newKey()];
    await port.command('HSET', hash, 'one', 1, 'two', 2);
    expect(await port.command('HGETALL', hash)).toEqual(['one', '1', 'two', '2']);
    await port.command('ZADD', scores, 1.5, 'one');
    expect(await port.command('ZSCORE', scores, 'one')).toBe('1.5');
  });

  test('a script is one round trip, and two where the server does not have it', async () => {
    const server = await newRedisServer();
    const { port } = await connected(driver, server.url);
    const add = redisScript(`return redis.call('INCRBY', KEYS[1], ARGV[1])`);
    const calls = async () => {
      const statistics = String(await port.command('INFO', 'commandstats'));
      const count = (name: string) =>
        Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(statistics)?.[1] ?? 0);
      return { evalsha: count('evalsha'), eval: count('eval') };
    };
    expect(await add(port, ['sum'], [2])).toBe(2);
    expect(await calls()).toEqual({ evalsha: 1, eval: 1 });
    expect(await add(port, ['sum'], [3])).toBe(5);
    expect(await calls()).toEqual({ evalsha: 2, eval: 1 });
    await port.command('SCRIPT', 'FLUSH');
    expect(await add(port, ['sum'], ['4'])).toBe(9);
    expect(await calls()).toEqual({ evalsha: 3, eval: 2 });
    await expect(add(port, ['sum'], ['none'])).rejects.toMatchObject({ code: 'REJECTED' });
    expect(await calls()).toEqual({ evalsha: 4, eval: 2 });
  });

  test('a script whose answer is lost is not run again', async () => {
    const proxy = await proxyTo('EVALSHA', (arrived) => (arrived === 2 ? 'answer-lost' : 'passes'));
    const { port, reconnected } = await connected(driver, proxy.url);
    const stock = await newStock();
    const decrement = redisScript(`return redis.call('DECR', KEYS[1])`);
    await decrement(port, [stock], []);
    await expect(decrement(port, [stock], [])).rejects.toMatchObject(lost);
    await reconnected();
    expect(await port.command('GET', stock)).toBe('8');
  });
});

/** Until the drivers have written what they were given in this turn of the event loop. */
const written = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Nothing else runs in this process meanwhile. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
