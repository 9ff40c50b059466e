import { createClient } from '@redis/client';
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { newRedisServer } from '../../../test/own-server.ts';
import { newRedis } from '../../../test/stores.ts';
import { ioredisPort } from '../src/adapters/ioredis.ts';
import { nodeRedisPort } from '../src/adapters/node-redis.ts';
import {
  done,
  type IdempotencyEvent,
  type IdempotencyKeyOptions,
  idempotencyKeys,
  type RedisPort,
  redisIdempotencyStore,
  StoreError,
} from '../src/index.ts';
import { answer, idOf, newRequest, shown } from './idempotency-stores.ts';

const NEVER_RUNS = (): Promise<never> => Promise.reject(new Error('the work ran'));

/** Idempotency keys on a Redis of the test's own. */
async function open(url: string, options: IdempotencyKeyOptions = {}) {
  const redis = new Redis(url, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 20,
    lazyConnect: true,
  });
  // Without a listener, the end of the server would be printed.
  redis.on('error', () => undefined);
  await redis.connect();
  onTestFinished(() => redis.disconnect());
  const events: IdempotencyEvent[] = [];
  const store = redisIdempotencyStore(ioredisPort(redis, { commandTimeoutMs: 5_000 }));
  const keys = idempotencyKeys(store, { ...options, onEvent: (event) => events.push(event) });
  return { redis, keys, kinds: () => events.map(({ kind }) => kind) };
}

test('restarted with its append-only file, it replays the same bytes', async () => {
  const server = await newRedisServer({ appendfsync: 'always' });
  const { redis, keys } = await open(server.url);
  const request = newRequest();
  const given = answer('', { body: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)) });
  await keys.run(request, async () => done(given));
  await server.kill();
  await server.start('kept');
  await until(() => redis.status === 'ready');
  const replay = await keys.run(request, NEVER_RUNS);
  if (replay.outcome !== 'done') throw new Error(replay.outcome);
  expect([replay.replayed, shown(replay.value)]).toEqual([true, shown(given)]);
});

test('the documented limit: restarted empty, it has forgotten the answer, and the work runs again', async () => {
  const server = await newRedisServer();
  const { redis, keys } = await open(server.url);
  const request = newRequest();
  await keys.run(request, async () => done(answer('first')));
  await server.kill();
  await expect(keys.run(request, NEVER_RUNS)).rejects.toMatchObject({ name: 'StoreError' });
  await server.start('removed');
  await until(() => redis.status === 'ready');
  expect(await keys.run(request, async () => done(answer('second')))).toEqual(done(answer('second')));
});

test('restarted empty while the work runs: the one at work is told, its outcome stands, and it is not stored', async () => {
  const server = await newRedisServer();
  const { redis, keys, kinds } = await open(server.url, { leaseMs: 600 });
  const request = newRequest();
  const outcome = await keys.run(request, async ({ signal }) => {
    const lost = new Promise((resolve) => signal.addEventListener('abort', resolve));
    await server.kill();
    await server.start('removed');
    await until(() => redis.status === 'ready');
    await lost;
    return done(answer('at work'));
  });
  expect(outcome).toEqual(done(answer('at work')));
  expect(kinds()).toContain('lease-lost');
  expect(kinds().at(-1)).toBe('not-stored');
  expect(await keys.run(request, async () => done(answer('again')))).toEqual(done(answer('again')));
});

test('restarted empty while the work runs, and somebody else has begun: one answer is given to both', async () => {
  const server = await newRedisServer();
  const { redis, keys } = await open(server.url, { leaseMs: 60_000 });
  const request = newRequest();
  const outcome = await keys.run(request, async () => {
    await server.kill();
    await server.start('removed');
    await until(() => redis.status === 'ready');
    await keys.run(request, async () => done(answer('successor')));
    return done(answer('late'));
  });
  if (outcome.outcome !== 'done') throw new Error(outcome.outcome);
  expect(shown(outcome.value)).toEqual(shown(answer('successor')));
});

const FULL = { maxmemory: '4mb', appendonly: 'no' };

/**
 * Answers of 20 kB until Redis is full. @returns what refused, with the first request, or the first that was evicted:
 * Redis measures age in seconds and compares a few keys picked at random, so it need not be the oldest one.
 */
async function fill(keys: Awaited<ReturnType<typeof open>>['keys'], redis: Redis) {
  const first = newRequest();
  await keys.run(first, async () => done(answer('first')));
  const requests = [first];
  for (let count = 0; count < 400; count++) {
    const request = newRequest();
    requests.push(request);
    let ran = false;
    const large = answer('x'.repeat(20_000));
    const failure = await keys
      .run(request, async () => {
        ran = true;
        return done(large);
      })
      .then(
        () => undefined,
        (error: unknown) => ({ error, ran }),
      );
    if (failure !== undefined) return { request: first, failure };
    const kept = await redis.keys('*');
    const evicted = requests.find(({ key }) => !kept.some((name) => name.endsWith(key)));
    if (evicted !== undefined) return { request: evicted, failure };
  }
  throw new Error('it was never full');
}

test('full and told to evict nothing: requests fail before their work runs, and what is stored is replayed', async () => {
  const server = await newRedisServer({ ...FULL, 'maxmemory-policy': 'noeviction' });
  const { redis, keys, kinds } = await open(server.url);
  const { request, failure } = await fill(keys, redis);
  expect(failure).toMatchObject({ error: { code: 'REJECTED', effect: 'none' }, ran: false });
  // The last one that ran may have filled it up with its claim.
  expect(new Set(kinds())).toEqual(new Set(kinds().length > 0 ? ['not-stored'] : []));
  expect(await keys.run(request, NEVER_RUNS)).toMatchObject({ outcome: 'done', replayed: true });
});

test.each(['allkeys-lru', 'volatile-ttl'])(
  'the documented limit: full and told to evict (%s), it forgets answers, and their work runs again',
  async (policy) => {
    const server = await newRedisServer({ ...FULL, 'maxmemory-policy': policy });
    const { redis, keys } = await open(server.url);
    const { request, failure } = await fill(keys, redis);
    expect(failure).toBeUndefined();
    expect(await keys.run(request, async () => done(answer('again')))).toEqual(done(answer('again')));
  },
);

test('every record ends by itself', async () => {
  const server = await newRedisServer();
  const { redis, keys } = await open(server.url, { leaseMs: 5_000, retentionMs: 60_000 });
  const finished = newRequest();
  await keys.run(finished, async () => done(answer('x')));
  await keys.run(newRequest(), () => Promise.reject(new Error('crash'))).catch(() => undefined);
  const names = await redis.keys('*');
  expect(names).toHaveLength(2);
  for (const name of names) {
    const leftMs = await redis.pttl(name);
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  }
});

test('a renewal and an answer each prolong the life of their record', async () => {
  const server = await newRedisServer();
  const { redis } = await open(server.url);
  const store = redisIdempotencyStore(ioredisPort(redis, { commandTimeoutMs: 5_000 }));
  const id = idOf(newRequest());
  const owner = '8a2c7b6e-0000-4000-8000-000000000001';
  const times = { leaseMs: 1_000, retentionMs: 10_000 };
  const leftMs = async () => redis.pttl(String((await redis.keys('*'))[0]));
  await store.claim({ ...id, mode: 'leased', fingerprint: '0'.repeat(64), owner, ...times });
  expect(await leftMs()).toBeLessThanOrEqual(10_000);
  await store.renew(id, owner, { leaseMs: 1_000, retentionMs: 1_000_000 });
  expect(await leftMs()).toBeGreaterThan(500_000);
  const { leaseLeftMs = 0 } = (await store.read(id)) ?? {};
  expect(leaseLeftMs).toBeLessThanOrEqual(1_000);
  await store.complete(id, owner, { ...answer('x'), headers: {} }, 100_000_000);
  expect(await leftMs()).toBeGreaterThan(50_000_000);
});

const OWNER = '8a2c7b6e-0000-4000-8000-000000000001';
const LONG = { leaseMs: 60_000, retentionMs: 600_000 };
const claimOf = (id: ReturnType<typeof idOf>) =>
  ({ ...id, ...LONG, mode: 'leased', fingerprint: '0'.repeat(64), owner: OWNER }) as const;

/** A store on the Redis of the run, by a port that is told of each command before it is sent, and of each answer. */
async function openWatched(answered: (name: string, send: () => Promise<unknown>) => Promise<unknown>) {
  const { redis, prefix } = newRedis();
  await redis.connect();
  onTestFinished(() => redis.disconnect());
  const port = ioredisPort(redis, { commandTimeoutMs: 5_000 });
  const sent: string[] = [];
  const watched: RedisPort = {
    command(name, ...args) {
      sent.push(name);
      return answered(name, () => port.command(name, ...args));
    },
  };
  return {
    redis,
    prefix,
    store: redisIdempotencyStore(watched, { prefix }),
    /** What was sent since the last time. */
    sent: () => sent.splice(0),
  };
}

/** The server that has not heard of a script yet is sent it. */
const SCRIPT = [['EVALSHA'], ['EVALSHA', 'EVAL']];

test('a claim, a replay and an answer are one command; Redis is asked by script whether a lease is over', async () => {
  const { store, sent } = await openWatched((_, send) => send());
  const id = idOf(newRequest());
  expect(await store.claim(claimOf(id))).toEqual({ claimed: true, attempt: 1 });
  expect(sent()).toEqual(['SET']);
  expect(await store.claim(claimOf(id))).toMatchObject({ claimed: false, record: { answer: undefined } });
  expect(SCRIPT.map((script) => ['SET', ...script])).toContainEqual(sent());
  await store.complete(id, OWNER, { ...answer('x'), headers: {} }, LONG.retentionMs);
  expect(SCRIPT).toContainEqual(sent());
  expect(await store.claim(claimOf(id))).toMatchObject({
    claimed: false,
    record: { answer: { status: 200 } },
  });
  expect(sent()).toEqual(['SET']);
});

test('a server that does not take the command is asked by script for a minute, and then with the command again', async () => {
  let refuses = true;
  const { store, sent } = await openWatched(async (name, send) => {
    if (refuses && name === 'SET') throw new StoreError('REJECTED', 'none', 'ERR syntax error');
    return send();
  });
  const claimed = async () => (await store.claim(claimOf(idOf(newRequest())))).claimed;
  expect(await claimed()).toBe(true);
  expect(sent()[0]).toBe('SET');
  refuses = false;
  expect(await claimed()).toBe(true);
  expect(SCRIPT).toContainEqual(sent());
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 60_001);
  onTestFinished(() => void vi.restoreAllMocks());
  expect(await claimed()).toBe(true);
  expect(sent()).toEqual(['SET']);
});

test('a claim whose answer is lost is unknown, and is not sent again by script', async () => {
  const lost = new StoreError('CONNECTION_LOST', 'unknown', 'lost');
  const { store, sent } = await openWatched(async (name, send) => {
    await send();
    if (name === 'SET') throw lost;
  });
  const id = idOf(newRequest());
  await expect(store.claim(claimOf(id))).rejects.toBe(lost);
  expect(sent()).toEqual(['SET']);
});

test('something else that is kept under its key is taken for no record, by neither way', async () => {
  const { redis, prefix, store } = await openWatched((_, send) => send());
  const id = idOf(newRequest());
  for (const other of ['something else', 'done with it', 'running']) {
    await redis.set(`${prefix}${id.scope}${id.key}`, other);
    await expect(store.claim(claimOf(id)), other).rejects.toMatchObject({ name: 'MisuseError' });
    await expect(store.read(id), other).rejects.toMatchObject({ name: 'MisuseError' });
    expect(await redis.get(`${prefix}${id.scope}${id.key}`)).toBe(other);
  }
});

test.each(['ioredis', 'node-redis'])(
  'by %s, text comes back to the byte, however long, and so does what is none',
  async (driver) => {
    const { redis, prefix } = newRedis();
    const store = redisIdempotencyStore(await portOf(driver, redis), { prefix });
    const bodies = [
      '',
      '\ufeffmarked',
      '\n\n',
      '\u2028 \u0000',
      // Characters of three and four bytes, which end where a part of the answer does.
      '한😀'.repeat(300_000),
    ].map((text) => Buffer.from(text));
    bodies.push(Buffer.from([0xff, 0xfe]), Buffer.from([0x65, 0xed, 0xa0, 0x80]), Buffer.from([0xc3]));
    const headers = { link: '</한>; rel="next"', etag: '"a b\u2028"' };
    for (const body of bodies) {
      const id = idOf(newRequest());
      await store.claim(claimOf(id));
      expect(await store.complete(id, OWNER, { status: 201, headers, body }, LONG.retentionMs)).toBe(true);
      const found = await store.claim(claimOf(id));
      const stored = found.claimed ? undefined : found.record.answer;
      expect(stored).toMatchObject({ status: 201, headers });
      expect(Buffer.from(stored?.body ?? []).equals(body)).toBe(true);
    }
  },
);

async function portOf(driver: string, redis: Redis): Promise<RedisPort> {
  const limits = { commandTimeoutMs: 5_000 };
  if (driver === 'ioredis') {
    await redis.connect();
    onTestFinished(() => redis.disconnect());
    return ioredisPort(redis, limits);
  }
  const client = createClient({ url: inject('redisUrl'), disableOfflineQueue: true });
  client.on('error', () => undefined);
  await client.connect();
  onTestFinished(() => client.destroy());
  return nodeRedisPort(client, limits);
}
