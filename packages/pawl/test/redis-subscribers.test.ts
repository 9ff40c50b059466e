import { EventEmitter } from 'node:events';
import { createClient } from '@redis/client';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { newRedisServer } from '../../../test/own-server.ts';
import { startProxy } from '../../../test/proxy.ts';
import { newRedis } from '../../../test/stores.ts';
import { ioredisSubscriber } from '../src/adapters/ioredis.ts';
import { nodeRedisSubscriber } from '../src/adapters/node-redis.ts';
import { MisuseError, type RedisListener, type RedisSubscriber } from '../src/index.ts';

const DRIVERS = ['ioredis', 'node-redis'] as const;
type Driver = (typeof DRIVERS)[number];

const { redis, prefix } = newRedis();
let names = 0;

beforeAll(() => redis.connect());
afterAll(() => redis.quit());

const newName = () => `${prefix}${++names}`;

interface TestClient {
  readonly subscriber: RedisSubscriber;
  /** By which the server knows its connection. */
  readonly connectionName: string;
  connect(): Promise<unknown>;
}

/** Made as the adapter asks, and not connected; closed with the test. */
function newClient(driver: Driver, url = inject('redisUrl')): TestClient {
  const connectionName = newName();
  return { ...(driver === 'ioredis' ? newIoredis() : newNodeRedis()), connectionName };

  function newIoredis() {
    const client = new Redis(url, {
      ...{ autoResubscribe: false, enableOfflineQueue: false, maxRetriesPerRequest: 0 },
      lazyConnect: true,
      retryStrategy: () => 10,
      connectionName,
    });
    client.on('error', () => undefined);
    onTestFinished(() => client.disconnect());
    return { subscriber: ioredisSubscriber(client), connect: () => client.connect() };
  }

  function newNodeRedis() {
    const client = createClient({
      url,
      disableOfflineQueue: true,
      socket: { reconnectStrategy: () => 10 },
      name: connectionName,
    });
    client.on('error', () => undefined);
    onTestFinished(() => (client.isOpen ? client.destroy() : undefined));
    return { subscriber: nodeRedisSubscriber(client), connect: () => client.connect() };
  }
}

async function connected(driver: Driver, url?: string): Promise<TestClient> {
  const client = newClient(driver, url);
  await client.connect();
  return client;
}

/** Everything that it was told, in that order: texts, and what became of the connection. */
function listening({ subscriber }: { subscriber: RedisSubscriber }, channel: string) {
  const told: string[] = [];
  const listener: RedisListener = {
    message: (text) => told.push(text),
    listening: () => told.push('(listening)'),
    lost: () => told.push('(lost)'),
  };
  const { stop, replace } = subscriber.subscribe(channel, listener);
  const times = (what: string) => told.filter((one) => one === what).length;
  return { told, stop, replace, heard: (what: string, count = 1) => until(() => times(what) >= count) };
}

/** What the server calls the connection of that name. */
async function idOf(connectionName: string): Promise<string> {
  const clients = String(await redis.client('LIST'));
  return new RegExp(`^id=(\\d+) .*name=${connectionName} `, 'm').exec(clients)?.[1] ?? 'none of that name';
}

/** The server closes the connection of that name. */
async function cut(connectionName: string): Promise<void> {
  expect(await redis.client('KILL', 'ID', await idOf(connectionName))).toBe(1);
}

const subscribers = async (channel: string) => Number((await redis.pubsub('NUMSUB', channel))[1]);

/** Promises that were rejected, and that nobody held, while the test ran. */
function unheldRejections(): unknown[] {
  const rejections: unknown[] = [];
  const remember = (reason: unknown) => rejections.push(reason);
  process.on('unhandledRejection', remember);
  onTestFinished(() => {
    process.off('unhandledRejection', remember);
  });
  return rejections;
}

test('an ioredis client that subscribes again by itself is refused', () => {
  const subscriber = (settings: object) =>
    ioredisSubscriber(new Redis({ ...settings, lazyConnect: true }) as never);
  expect(() => subscriber({})).toThrow(MisuseError);
  expect(() => subscriber({ autoResubscribe: true })).toThrow(MisuseError);
  expect(() => subscriber({ autoResubscribe: false })).not.toThrow();
});

describe.each(DRIVERS)('the %s subscriber', (driver) => {
  test('hears what is published in its channel, as it was, and in no other', async () => {
    const client = await connected(driver);
    const channel = newName();
    const { told, heard } = listening(client, channel);
    await heard('(listening)');
    const texts = ['7 1700000000000001 a key: with spaces', '', 'ü€😀', '\0\r\n$5\r\n'];
    await redis.publish(`${channel}-other`, 'not for it');
    for (const text of texts) await redis.publish(channel, text);
    await redis.publish(channel, 'last');
    await heard('last');
    expect(told).toEqual(['(listening)', ...texts, 'last']);
  });

  test('that is asked before it is connected listens when it is', async () => {
    const client = newClient(driver);
    const channel = newName();
    const { told, heard } = listening(client, channel);
    expect(told).toEqual([]);
    await client.connect();
    await heard('(listening)');
    await redis.publish(channel, 'text');
    await heard('text');
    expect(told).toEqual(['(listening)', 'text']);
  });

  test('whose connection is replaced listens on another', async () => {
    const client = await connected(driver);
    const channel = newName();
    const { told, heard, replace } = listening(client, channel);
    await heard('(listening)');
    const before = await idOf(client.connectionName);
    replace();
    await heard('(listening)', 2);
    await until(async () => (await idOf(client.connectionName)) !== before);
    await redis.publish(channel, 'text');
    await heard('text');
    expect(told).toEqual(['(listening)', '(lost)', '(listening)', 'text']);
  });

  test('tells of a connection that was cut, and when it listens again, and hears each message once', async () => {
    const client = await connected(driver);
    const channel = newName();
    const { told, heard } = listening(client, channel);
    await heard('(listening)');
    for (let times = 1; times <= 3; times++) {
      await cut(client.connectionName);
      await heard('(lost)', times);
      await heard('(listening)', times + 1);
      await redis.publish(channel, `text ${times}`);
      await heard(`text ${times}`);
    }
    const again = (times: number) => ['(lost)', '(listening)', `text ${times}`];
    expect(told).toEqual(['(listening)', ...again(1), ...again(2), ...again(3)]);
  });

  test('says that it listens when the server knows it, and not sooner, also after a cut', async () => {
    const client = await connected(driver);
    const channel = newName();
    const counts: Promise<number>[] = [];
    const { heard } = listening(
      {
        subscriber: {
          subscribe: (name, listener) =>
            client.subscriber.subscribe(name, {
              ...{ message: (text) => listener.message(text), lost: () => listener.lost() },
              listening: () => {
                counts.push(redis.publish(name, 'heard'));
                listener.listening();
              },
            }),
        },
      },
      channel,
    );
    await heard('(listening)');
    await cut(client.connectionName);
    await heard('(listening)', 2);
    await heard('heard', 2);
    expect(await Promise.all(counts)).toEqual([1, 1]);
  });

  test('listens to several channels, each for itself', async () => {
    const client = await connected(driver);
    const [one, two] = [newName(), newName()];
    const [first, second] = [listening(client, one), listening(client, two)];
    for (const { heard } of [first, second]) await heard('(listening)');
    await cut(client.connectionName);
    for (const { heard } of [first, second]) await heard('(listening)', 2);
    await redis.publish(one, 'to one');
    await redis.publish(two, 'to two');
    await first.heard('to one');
    await second.heard('to two');
    expect(first.told).toEqual(['(listening)', '(lost)', '(listening)', 'to one']);
    expect(second.told).toEqual(['(listening)', '(lost)', '(listening)', 'to two']);
  });

  test('that is stopped is told nothing more, and the server forgets it; others go on', async () => {
    const client = await connected(driver);
    const [one, two] = [newName(), newName()];
    const [first, second] = [listening(client, one), listening(client, two)];
    for (const { heard } of [first, second]) await heard('(listening)');
    first.stop();
    await until(async () => (await subscribers(one)) === 0);
    await redis.publish(one, 'to nobody');
    await cut(client.connectionName);
    await second.heard('(listening)', 2);
    await redis.publish(one, 'to nobody');
    await redis.publish(two, 'last');
    await second.heard('last');
    expect(first.told).toEqual(['(listening)']);
    expect(await subscribers(one)).toBe(0);
  });

  test('that is stopped before it is connected never listens', async () => {
    const client = newClient(driver);
    const [one, two] = [newName(), newName()];
    const [first, second] = [listening(client, one), listening(client, two)];
    first.stop();
    await client.connect();
    await second.heard('(listening)');
    expect([first.told, await subscribers(one)]).toEqual([[], 0]);
  });

  test('finds a server again that was killed and has forgotten everything', async () => {
    const rejections = unheldRejections();
    const server = await newRedisServer();
    const client = await connected(driver, server.url);
    const { told, heard } = listening(client, 'channel');
    await heard('(listening)');
    await server.kill();
    await heard('(lost)');
    await server.start('removed');
    await heard('(listening)', 2);
    const publisher = new Redis(server.url, { lazyConnect: true });
    onTestFinished(() => publisher.disconnect());
    await publisher.connect();
    await publisher.publish('channel', 'text');
    await heard('text');
    expect(told[0]).toBe('(listening)');
    expect(told.slice(-2)).toEqual(['(listening)', 'text']);
    expect(rejections).toEqual([]);
  });

  test.each(['request-lost', 'answer-lost'] as const)(
    'tries again when the connection breaks while it subscribes (%s), and no promise is left alone',
    async (fate) => {
      const rejections = unheldRejections();
      const channel = newName();
      // It ends with that, however the driver cuts it into packets.
      const isIt = (data: Buffer) => data.toString('latin1').includes(channel);
      const fateOf = (arrived: number) => (arrived <= 3 ? fate : 'passes');
      const proxy = await startProxy(inject('redisUrl'), fateOf, isIt);
      onTestFinished(() => proxy.close());
      const url = Object.assign(new URL(inject('redisUrl')), { port: String(proxy.port) }).href;
      const client = await connected(driver, url);
      const { told, heard } = listening(client, channel);
      await heard('(listening)');
      await redis.publish(channel, 'text');
      await heard('text');
      expect(told.filter((one) => one === '(lost)')).toHaveLength(3);
      expect(told.slice(-2)).toEqual(['(listening)', 'text']);
      expect(proxy.connections()).toBeGreaterThanOrEqual(4);
      expect(rejections).toEqual([]);
    },
  );
});

/** A client whose answers come when the test says so. */
class ScriptedClient extends EventEmitter {
  status = 'ready';
  isReady = true;
  isOpen = true;
  readonly options = { autoResubscribe: false };
  readonly answers: PromiseWithResolvers<void>[] = [];

  subscribe(): Promise<void> {
    const answer = Promise.withResolvers<void>();
    this.answers.push(answer);
    return answer.promise;
  }

  async unsubscribe(): Promise<never> {
    throw new Error('not connected');
  }

  connect(): Promise<never> {
    return this.unsubscribe();
  }

  destroy(): void {
    this.isOpen = false;
  }

  loses(): void {
    // The first is what ioredis calls it, the other node-redis.
    for (const name of ['close', 'reconnecting']) this.emit(name);
  }
}

describe.each([
  ['ioredis', ioredisSubscriber],
  ['node-redis', nodeRedisSubscriber],
] as const)('the %s subscriber, when an answer comes late', (_, subscriberOf) => {
  const settles = () => new Promise((resolve) => setImmediate(resolve));

  test('over a connection that has been lost meanwhile, it does not listen by that', async () => {
    const client = new ScriptedClient();
    const { told } = listening({ subscriber: subscriberOf(client) }, 'channel');
    client.loses();
    client.answers[0]?.resolve();
    await settles();
    expect(told).toEqual(['(lost)']);
    client.emit('ready');
    client.answers[1]?.resolve();
    await settles();
    expect(told).toEqual(['(lost)', '(listening)']);
  });

  test('to who has stopped, he is not told; nor that the connection is lost', async () => {
    const rejections = unheldRejections();
    const client = new ScriptedClient();
    const { told, stop } = listening({ subscriber: subscriberOf(client) }, 'channel');
    stop();
    client.answers[0]?.resolve();
    await settles();
    client.loses();
    client.emit('message', 'channel', 'text');
    expect([told, rejections]).toEqual([[], []]);
  });
});

test('a node-redis client that is closed for good is told of as lost', () => {
  const client = new ScriptedClient();
  const { told } = listening({ subscriber: nodeRedisSubscriber(client) }, 'channel');
  client.emit('end');
  expect(told).toEqual(['(lost)']);
});
