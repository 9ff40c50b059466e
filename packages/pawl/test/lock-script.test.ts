import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { newRedis } from '../../../test/stores.ts';
import { ioredisPort } from '../src/adapters/ioredis.ts';
import { type RedisPort, TOKENS_PER_GRANT } from '../src/index.ts';
import { HEARD, type LockStep, LockSteps } from '../src/redis/lock-script.ts';

/** Nobody's lease ends but where the test ends it. */
const LEASE_MS = 600_000;

const { redis, prefix } = newRedis();
const channels = `${prefix}granted:`;
const commands = new Redis(inject('redisUrl'), {
  ...{ autoResendUnfulfilledCommands: false, enableOfflineQueue: false, maxRetriesPerRequest: 0 },
  lazyConnect: true,
});
const listener = redis.duplicate({ autoResubscribe: false });
/** What was published for `p1` and `p2`, who listen: `channel: text`. Nobody listens for `deaf`, but one who listens to all. */
const messages: string[] = [];
let port: RedisPort;
let locks = 0;

beforeAll(async () => {
  for (const client of [redis, commands, listener]) await client.connect();
  port = ioredisPort(commands, { commandTimeoutMs: 10_000 });
  await listener.subscribe(`${channels}p1`, `${channels}p2`);
  await listener.psubscribe(`${channels}*`);
  listener.on('message', (channel, text) => messages.push(`${channel.slice(channels.length)}: ${text}`));
});
afterAll(() => {
  for (const client of [redis, commands, listener]) client.disconnect();
});

const newLock = () => `${prefix}a lock ${++locks}`;

/** The steps of a lock, by hand. */
function stepsOf(lock: string, leaseMs = LEASE_MS) {
  const steps = new LockSteps(port, channels, leaseMs);
  const step = (name: 'take' | 'wait' | 'poll' | 'renew' | 'free') => (place: string) =>
    steps.take({ name, lock, place });
  return {
    ...{ take: step('take'), wait: step('wait'), poll: step('poll') },
    ...{ renew: step('renew'), free: step('free') },
    freeWait: (place: string, nextPlace: string) => steps.take({ name: 'free-wait', lock, place, nextPlace }),
  };
}

const queueOf = (lock: string) => redis.zrange(`${lock}:queue`, '0', '-1');
const msLeft = (key: string) => redis.pttl(key);

describe('one step', () => {
  test('asked again answers the same, and leases the lock anew', async () => {
    const lock = newLock();
    const { take, wait } = stepsOf(lock);
    const { taken } = await take('p1:1');
    await redis.pexpire(lock, 1_000);
    expect((await wait('p1:1')).taken).toBe(taken);
    expect(await msLeft(lock)).toBeGreaterThan(1_000);
    await redis.pexpire(lock, 1_000);
    expect((await take('p1:1')).taken).toBe(taken);
    expect(await msLeft(lock)).toBeGreaterThan(1_000);
  });

  test('tells who waits for how long the lock is somebody else’s', async () => {
    const lock = newLock();
    const { take, wait } = stepsOf(lock);
    await take('p1:1');
    await redis.pexpire(lock, 5_000);
    for (const step of [take, wait]) {
      const { taken } = await step('p2:1');
      expect(-taken).toBeGreaterThan(1_000);
      expect(-taken).toBeLessThanOrEqual(5_000);
    }
  });

  test('renews for its holder, and for nobody else', async () => {
    const lock = newLock();
    const { take, wait, renew, free } = stepsOf(lock);
    expect((await renew('p1:1')).held).toBe(false);
    await take('p1:1');
    await wait('p2:1');
    await redis.pexpire(lock, 1_000);
    for (const place of ['p2:1', 'p1:11', 'p1:', '']) expect((await renew(place)).held).toBe(false);
    expect(await msLeft(lock)).toBeLessThanOrEqual(1_000);
    expect((await renew('p1:1')).held).toBe(true);
    expect(await msLeft(lock)).toBeGreaterThan(1_000);
    await free('p2:1');
    await free('p1:1');
    // Free it is nobody's, although it is kept for a while.
    expect(await redis.exists(lock)).toBe(1);
    for (const place of ['p1:1', '']) expect((await renew(place)).held).toBe(false);
  });

  test('gives back what its holder has, and nothing of anybody else’s', async () => {
    const lock = newLock();
    const { take, renew, free } = stepsOf(lock);
    await take('p1:1');
    for (const place of ['p2:1', 'p1:11', '']) expect((await free(place)).held).toBe(false);
    expect((await renew('p1:1')).held).toBe(true);
    expect((await free('p1:1')).held).toBe(true);
    expect((await free('p1:1')).held).toBe(false);
    expect((await take('p2:1')).taken).toBeGreaterThan(0);
  });

  test('keeps nothing for longer than a lease', async () => {
    const lock = newLock();
    const { take, wait, free, freeWait } = stepsOf(lock);
    const all = [lock, `${lock}:queue`, `${lock}:waiting`];
    await take('p1:1');
    await wait('p2:1');
    await freeWait('p1:1', 'p1:2');
    for (const key of all) {
      expect(await msLeft(key), key).toBeGreaterThan(LEASE_MS - 60_000);
      expect(await msLeft(key), key).toBeLessThanOrEqual(LEASE_MS);
    }
    await free('p1:2');
    await free('p2:1');
    expect(await msLeft(lock)).toBeGreaterThan(LEASE_MS - 60_000);
    expect(await redis.exists(...all)).toBe(1);
  });

  test('of a short lease does not end the queue before those who wait in it', async () => {
    const lock = newLock();
    const [long, short] = [stepsOf(lock), stepsOf(lock, 1_000)];
    await long.take('p1:1');
    await short.wait('p2:1');
    expect(await msLeft(`${lock}:queue`)).toBeLessThanOrEqual(1_000);
    await long.wait('p2:2');
    await short.wait('p2:1');
    for (const key of [`${lock}:queue`, `${lock}:waiting`]) expect(await msLeft(key)).toBeGreaterThan(1_000);
    await long.free('p1:1');
    // It is leased to each for as long as he asked for.
    expect(await msLeft(lock)).toBeLessThanOrEqual(1_000);
  });

  test('tells the next by a message: its number, the first token, the lock', async () => {
    const lock = newLock();
    const { take, wait, free } = stepsOf(lock);
    await take('p1:1');
    await wait('p2:7');
    messages.length = 0;
    await free('p1:1');
    await until(() => messages.length > 0);
    expect(messages).toEqual([`p2: 7 ${(await take('p2:7')).taken} ${lock}`]);
  });

  test('takes a lock of which the last token is ahead of the clock, also if its key is not there any more', async () => {
    const lock = newLock();
    const { take, free } = stepsOf(lock);
    const { taken } = await take('p1:1');
    await free('p1:1');
    const aheadUs = taken + 3_600_000_000;
    await redis.set(lock, `${aheadUs}0`, 'KEEPTTL');
    expect((await take('p1:2')).taken).toBe(aheadUs + 1);
    await redis.del(lock);
    const [seconds, us] = await redis.time();
    expect((await take('p1:3')).taken).toBeGreaterThan(Number(seconds) * 1_000_000 + Number(us));
  });
});

describe('one step of who queues', () => {
  test('tells whether he will be told, and that he should have been', async () => {
    const lock = newLock();
    const { take, wait, poll, free } = stepsOf(lock);
    await take('p1:1');
    expect((await wait('p2:1')).heard).toBe(HEARD.yes);
    expect((await poll('p2:1')).heard).toBe(HEARD.no);
    expect((await wait('p2:1')).heard).toBe(HEARD.yes);
    expect((await wait('deaf:1')).heard).toBe(HEARD.no);
    await free('p1:1');
    expect((await wait('p2:1')).heard).toBe(HEARD.granted);
  });

  test('and polls is granted the lock in his turn, without a message', async () => {
    const lock = newLock();
    const { take, wait, poll, free } = stepsOf(lock);
    await take('p1:1');
    await wait('deaf:1');
    await poll('p2:1');
    await wait('p1:2');
    messages.length = 0;
    await free('p1:1');
    expect((await wait('deaf:1')).taken).toBeGreaterThan(0);
    await free('deaf:1');
    expect((await poll('p2:1')).taken).toBeGreaterThan(0);
    await free('p2:1');
    await until(() => messages.length > 0);
    expect(messages).toEqual([expect.stringMatching(/^p1: 2 /)]);
  });

  test('fails alone, whatever is under its keys', async () => {
    const [good, bad, worse] = [newLock(), newLock(), newLock()];
    const steps = new LockSteps(port, channels, LEASE_MS);
    await redis.set(bad, 'what somebody else has put here');
    await stepsOf(worse).take('p1:1');
    await redis.set(`${worse}:queue`, 'no queue');
    const outcomes = await Promise.allSettled([
      steps.take({ name: 'take', lock: good, place: 'p1:1' }),
      steps.take({ name: 'take', lock: bad, place: 'p1:1' }),
      steps.take({ name: 'wait', lock: worse, place: 'p2:1' }),
      steps.take({ name: 'free-wait', lock: bad, place: 'p1:1', nextPlace: 'p1:2' }),
      steps.take({ name: 'take', lock: newLock(), place: 'p1:1' }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled'],
    ]);
  });
});

const PLACES = ['p1:1', 'p1:2', 'p2:1', 'p2:2', 'deaf:1', 'deaf:2'];

/**
 * A step; or what time does: the lease of the lock ends, nothing has been heard for a lease of somebody in the queue, or somebody
 * who was to be told listens no more.
 */
interface Choice {
  readonly name: LockStep['name'] | 'lease-ends' | 'falls-silent' | 'goes-deaf';
  readonly place: string;
  readonly nextPlace: string;
}

const places = fc.constantFrom(...PLACES);
const choices: fc.Arbitrary<Choice> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      name: fc.constantFrom<Choice['name'][]>(
        'take',
        'wait',
        'wait',
        'poll',
        'free',
        'renew',
        'free-poll',
        'free-wait',
      ),
      place: places,
      nextPlace: places,
    }),
  },
  // Most of what happens is done by who holds the lock.
  {
    weight: 3,
    arbitrary: fc.record({
      name: fc.constantFrom<Choice['name'][]>('free', 'free', 'renew', 'free-poll', 'free-wait'),
      place: fc.constant('owner'),
      nextPlace: places,
    }),
  },
  fc.record({
    name: fc.constantFrom<Choice['name'][]>('lease-ends', 'falls-silent', 'goes-deaf'),
    place: places,
    nextPlace: places,
  }),
);

const isDeaf = (place: string) => place.startsWith('deaf');

/** What a lock is, in so many words: who holds it, and who waits. */
class SpecifiedLock {
  owner: string | undefined;
  queue: { readonly place: string; silent: boolean; told: boolean }[] = [];
  /** How often it was granted. */
  grants = 0;
  /** To whom it was granted by a message, and in which of the grants. */
  readonly told: { readonly place: string; readonly grant: number }[] = [];

  /** @returns whether `place` holds it now. */
  take(place: string, how: 'take' | 'wait' | 'poll'): boolean {
    if (this.owner === place) return true;
    const waiting = this.queue.find((one) => one.place === place);
    if (how !== 'take') {
      const alive = { silent: false, told: how === 'wait' && !isDeaf(place) };
      if (waiting === undefined) this.queue.push({ place, ...alive });
      else Object.assign(waiting, alive);
    }
    if (this.owner === undefined) this.#handOver(place);
    if (this.owner === undefined) this.#grant(place);
    return this.owner === place;
  }

  /** @returns whether `place` held it. */
  free(place: string, asks?: string, how: 'wait' | 'poll' = 'wait'): boolean {
    const held = this.owner === place;
    if (held) this.owner = undefined;
    else this.queue = this.queue.filter((one) => one.place !== place);
    if (asks !== undefined) this.take(asks, how);
    else if (held) this.#handOver(undefined);
    return held;
  }

  #handOver(asks: string | undefined): void {
    for (;;) {
      const next = this.queue.shift();
      if (next === undefined) return;
      if (next.silent) continue;
      if (next.told && next.place !== asks && isDeaf(next.place)) continue;
      this.#grant(next.place);
      if (next.told && next.place !== asks) this.told.push({ place: next.place, grant: this.grants });
      return;
    }
  }

  #grant(place: string): void {
    this.owner = place;
    this.grants++;
  }
}

test('whatever comes in whatever order: one holder at a time, in the order of their coming, tokens that grow', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(choices, { minLength: 5, maxLength: 40 }), async (schedule) => {
      const lock = newLock();
      const steps = new LockSteps(port, channels, LEASE_MS);
      const specified = new SpecifiedLock();
      /** By grant, from 1: the first token; undefined where only a message told it. */
      const tokens: (number | undefined)[] = [];
      messages.length = 0;
      for (const choice of schedule) {
        const place = choice.place === 'owner' ? (specified.owner ?? 'p1:1') : choice.place;
        if (choice.name === 'lease-ends') {
          await redis.del(lock);
          specified.owner = undefined;
          continue;
        }
        if (choice.name === 'falls-silent') {
          const waiting = specified.queue[PLACES.indexOf(place) % Math.max(1, specified.queue.length)];
          if (waiting !== undefined) {
            waiting.silent = true;
            await redis.hset(`${lock}:waiting`, waiting.place, `1 ${LEASE_MS} told`);
          }
          continue;
        }
        if (choice.name === 'goes-deaf') {
          for (const waiting of specified.queue.filter((one) => isDeaf(one.place) && !one.silent)) {
            waiting.told = true;
            await redis.hset(`${lock}:waiting`, waiting.place, `${9e15} ${LEASE_MS} told`);
          }
          continue;
        }
        const { name, nextPlace } = choice;
        // It is a place of its own, and not one that has, or waits for, anything.
        if (nextPlace === place && name.startsWith('free-')) continue;
        const further = name === 'free-poll' || name === 'free-wait';
        const answer = await steps.take(further ? { name, lock, place, nextPlace } : { name, lock, place });
        if (name === 'renew') expect(answer.held).toBe(specified.owner === place);
        else if (name === 'free') expect(answer.held).toBe(specified.free(place));
        else {
          const asks = further ? nextPlace : place;
          const how = name === 'free-wait' ? 'wait' : name === 'free-poll' ? 'poll' : name;
          if (further)
            expect(answer.held).toBe(specified.free(place, asks, how === 'poll' ? 'poll' : 'wait'));
          else specified.take(place, how);
          expect(answer.taken > 0).toBe(specified.owner === asks);
          if (answer.taken > 0) {
            const { grants } = specified;
            expect(tokens[grants] ?? answer.taken).toBe(answer.taken);
            tokens[grants] = answer.taken;
          }
        }
        const held = (await redis.get(lock)) ?? '';
        expect(held.slice(17) === '' || held[16] === '0' ? undefined : held.slice(17)).toBe(specified.owner);
        expect(await queueOf(lock)).toEqual(specified.queue.map((one) => one.place));
        expect(await redis.hlen(`${lock}:waiting`)).toBe(specified.queue.length);
      }
      await until(() => messages.length >= specified.told.length);
      expect(messages).toHaveLength(specified.told.length);
      for (const [index, { place, grant }] of specified.told.entries()) {
        const [process = '', number] = place.split(':');
        const [to, told, token, ...rest] = messages[index]?.split(' ') ?? [];
        expect([to, told, rest.join(' ')]).toEqual([`${process}:`, number, lock]);
        expect(tokens[grant] ?? Number(token)).toBe(Number(token));
        tokens[grant] = Number(token);
      }
      const inOrder = tokens.filter((token) => token !== undefined);
      for (const [index, token] of inOrder.entries()) {
        if (index > 0) expect(token - (inOrder[index - 1] ?? 0)).toBeGreaterThanOrEqual(TOKENS_PER_GRANT);
      }
    }),
    { numRuns: 150 },
  );
});
