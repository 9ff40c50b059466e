import { randomUUID } from 'node:crypto';
import { type RedisPort, refused } from 'pawl';
import { ioredisPort } from 'pawl/ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { barrier, together } from '../../../../test/barrier.ts';
import { newRedis } from '../../../../test/stores.ts';
import { type Stock, type StockCounter, stockCounter } from '../../src/coupons/issue/stock-counter.ts';

const { redis, prefix } = newRedis();
const DAY = '2026-03-01';
const NEXT_DAY = '2026-03-02';
const KEEP_MS = 3_600_000;

let port: RedisPort;
let counter: StockCounter;

beforeAll(async () => {
  await redis.connect();
  port = ioredisPort(redis, { commandTimeoutMs: 5_000 });
  counter = stockCounter(port, { prefix, keepMs: KEEP_MS });
});

afterAll(() => redis.quit());

const stockOf = (remaining: number, dailyQuota: number | null = null): Stock => ({
  remaining,
  dailyQuota,
  quotaDay: null,
  quotaUsed: 0,
});

const keyOf = (couponId: string, name: string) => `${prefix}coupon:{${couponId}}:${name}`;

async function filled(remaining: number, dailyQuota: number | null = null): Promise<string> {
  const couponId = randomUUID();
  await counter.fill(couponId, stockOf(remaining, dailyQuota));
  return couponId;
}

const take = (couponId: string, memberId: number, day = DAY) => counter.take({ couponId, memberId, day });

/** Takes one that there must be. @returns the reservation */
async function reserve(couponId: string, memberId: number, day = DAY): Promise<string> {
  const taken = await take(couponId, memberId, day);
  if (taken.outcome !== 'taken') throw new Error(JSON.stringify(taken));
  return taken.reservation;
}

async function see(couponId: string) {
  const { stock, reserved } = await counter.read(couponId);
  return { left: stock?.remaining, day: stock?.quotaDay, used: stock?.quotaUsed, reserved };
}

/** The published order: it is asked whether there are less than none, and then one is taken. */
const PUBLISHED = `
if tonumber(redis.call('GET', KEYS[1])) < 0 then return 'sold-out' end
redis.call('DECR', KEYS[1])
return 'taken'`;

describe('the last coupon', () => {
  test('as published, of 5 coupons 50 members take 6', async () => {
    const key = prefix + randomUUID();
    await redis.set(key, 5);
    const answers = await together(50, () => port.command('EVAL', PUBLISHED, 1, key));
    expect(answers.filter((answer) => answer === 'taken')).toHaveLength(6);
    expect(await redis.get(key)).toBe('-1');
  });

  test('of 5 coupons 50 members take 5, and the others hear that none is left', async () => {
    const couponId = await filled(5);
    const answers = await together(50, (index) => take(couponId, index + 1));
    expect(answers.filter(({ outcome }) => outcome === 'taken')).toHaveLength(5);
    expect(answers.filter(({ outcome }) => outcome === 'refused')).toEqual(
      Array(45).fill(refused('sold-out')),
    );
    expect(await see(couponId)).toMatchObject({ left: 0, reserved: 5 });
  });

  test('without one step that does both, everybody who looks first takes one', async () => {
    const key = prefix + randomUUID();
    await redis.set(key, 5);
    const everybodyHasLooked = barrier(50);
    await together(50, async () => {
      const left = Number(await redis.get(key));
      await everybodyHasLooked();
      if (left > 0) await redis.decr(key);
    });
    expect(await redis.get(key)).toBe('-45');
  });
});

describe('one for each member', () => {
  test('ten times at once: one reservation, and nine hear that it is in progress', async () => {
    const couponId = await filled(100);
    const answers = await together(10, () => take(couponId, 7));
    expect(answers.filter(({ outcome }) => outcome === 'taken')).toHaveLength(1);
    expect(answers.filter(({ outcome }) => outcome === 'refused')).toEqual(
      Array(9).fill(refused('in-progress')),
    );
    expect(await see(couponId)).toMatchObject({ left: 99, reserved: 1 });
  });

  test('confirmed, he hears that he has one, also when none is left; others are not concerned', async () => {
    const couponId = await filled(1);
    expect(await counter.confirm(couponId, await reserve(couponId, 7))).toBe(true);
    expect(await take(couponId, 7)).toEqual(refused('already-issued'));
    expect(await take(couponId, 8)).toEqual(refused('sold-out'));
    expect(await see(couponId)).toMatchObject({ left: 0, used: 1, reserved: 0 });
  });

  test('given back, he may ask again, and so may everybody', async () => {
    const couponId = await filled(1);
    const first = await reserve(couponId, 7);
    expect(await counter.giveBack(couponId, first)).toBe(true);
    expect(await see(couponId)).toMatchObject({ left: 1, used: 0, reserved: 0 });
    expect(await reserve(couponId, 7)).not.toBe(first);
  });

  test('whoever is remembered to have one is refused', async () => {
    const couponId = await filled(100);
    await counter.remember(couponId, [7, 8]);
    expect(await take(couponId, 8)).toEqual(refused('already-issued'));
    expect((await take(couponId, 9)).outcome).toBe('taken');
  });

  test('a reservation that outlived the memory of its member takes nothing from his next one', async () => {
    const couponId = await filled(100);
    const first = await reserve(couponId, 7);
    await redis.del(keyOf(couponId, 'members'));
    await reserve(couponId, 7);
    expect(await counter.giveBack(couponId, first)).toBe(true);
    expect(await take(couponId, 7)).toEqual(refused('in-progress'));
  });

  test('a member whose reservation was forgotten alone is not kept out by it', async () => {
    const couponId = await filled(100);
    await reserve(couponId, 7);
    await redis.del(keyOf(couponId, 'reserved'));
    expect((await take(couponId, 7)).outcome).toBe('taken');
  });
});

describe('an outcome counts once', () => {
  test('confirmed, it can be neither confirmed nor given back any more', async () => {
    const couponId = await filled(5);
    const reservation = await reserve(couponId, 7);
    await counter.confirm(couponId, reservation);
    const before = await counter.read(couponId);
    expect(await counter.confirm(couponId, reservation)).toBe(false);
    expect(await counter.giveBack(couponId, reservation)).toBe(false);
    expect(await counter.giveBack(couponId, reservation, 'sold-out')).toBe(false);
    expect(await counter.read(couponId)).toEqual(before);
  });

  test('given back, it can be neither given back nor confirmed any more, also when he has another', async () => {
    const couponId = await filled(5);
    const first = await reserve(couponId, 7);
    await together(10, () => counter.giveBack(couponId, first));
    expect(await see(couponId)).toMatchObject({ left: 5, reserved: 0 });
    await reserve(couponId, 7);
    expect(await counter.confirm(couponId, first)).toBe(false);
    expect(await counter.giveBack(couponId, first)).toBe(false);
    expect(await take(couponId, 7)).toEqual(refused('in-progress'));
    expect(await see(couponId)).toMatchObject({ left: 4, reserved: 1 });
  });

  test('the rows had sold out, whatever was counted: nobody need ask them again', async () => {
    const couponId = await filled(50);
    await counter.giveBack(couponId, await reserve(couponId, 7), 'sold-out');
    expect(await take(couponId, 8)).toEqual(refused('sold-out'));
    expect(await see(couponId)).toMatchObject({ left: 0, used: 0, reserved: 0 });
  });

  test('the rows knew that he has one: what he took is there again, and he is remembered', async () => {
    const couponId = await filled(5);
    await counter.giveBack(couponId, await reserve(couponId, 7), 'already-issued');
    expect(await take(couponId, 7)).toEqual(refused('already-issued'));
    expect(await see(couponId)).toMatchObject({ left: 5, used: 0, reserved: 0 });
  });

  test('the rows had used up the day: nobody need ask them again before the next', async () => {
    const couponId = await filled(50, 10);
    await counter.giveBack(couponId, await reserve(couponId, 7), 'quota-reached');
    expect(await take(couponId, 7)).toEqual(refused('quota-reached'));
    expect(await see(couponId)).toMatchObject({ left: 50, used: 10, reserved: 0 });
    expect((await take(couponId, 7, NEXT_DAY)).outcome).toBe('taken');
  });
});

describe('the quota of a day', () => {
  test('of 3 a day 50 members take 3, and 3 the day after', async () => {
    const couponId = await filled(100, 3);
    for (const day of [DAY, NEXT_DAY]) {
      const answers = await together(50, (index) =>
        take(couponId, day === DAY ? index + 1 : index + 101, day),
      );
      expect(answers.filter(({ outcome }) => outcome === 'taken')).toHaveLength(3);
      expect(answers.filter(({ outcome }) => outcome === 'refused')).toEqual(
        Array(47).fill(refused('quota-reached')),
      );
    }
    expect(await see(couponId)).toMatchObject({ left: 94, day: NEXT_DAY, used: 3 });
  });

  test('what arrives from the day before counts for the day that has begun', async () => {
    const couponId = await filled(100, 2);
    await reserve(couponId, 1, NEXT_DAY);
    const late = await reserve(couponId, 2, DAY);
    expect(await take(couponId, 3, DAY)).toEqual(refused('quota-reached'));
    expect(await see(couponId)).toMatchObject({ day: NEXT_DAY, used: 2 });
    await counter.giveBack(couponId, late);
    expect(await see(couponId)).toMatchObject({ left: 99, day: NEXT_DAY, used: 1 });
  });

  test('what is given back of the day before does not make room today', async () => {
    const couponId = await filled(100, 1);
    const yesterday = await reserve(couponId, 1, DAY);
    await reserve(couponId, 2, NEXT_DAY);
    await counter.giveBack(couponId, yesterday);
    expect(await take(couponId, 3, NEXT_DAY)).toEqual(refused('quota-reached'));
    expect(await see(couponId)).toMatchObject({ left: 99, used: 1 });
  });
});

describe('where there is no counter', () => {
  test('nobody is let through and nobody is refused', async () => {
    expect(await take(randomUUID(), 7)).toEqual({ outcome: 'empty' });
    expect(await counter.read(randomUUID())).toMatchObject({ stock: null, reserved: 0 });
  });

  test('of many who fill it one does, and what was taken since is not undone', async () => {
    const couponId = randomUUID();
    const fillings = await together(20, async () => {
      const filledIt = await counter.fill(couponId, stockOf(20));
      await take(couponId, Math.random() * 2 ** 40);
      return filledIt;
    });
    expect(fillings.filter(Boolean)).toHaveLength(1);
    expect((await see(couponId)).left).toBeLessThan(20);
    const { stock, reserved } = await counter.read(couponId);
    expect((stock?.remaining ?? 0) + reserved).toBe(20);
  });

  test('reservations that have outlived their counter count for nothing in the new one', async () => {
    const couponId = await filled(5);
    const old = await reserve(couponId, 7);
    await redis.del(keyOf(couponId, 'stock'));
    await counter.fill(couponId, stockOf(5));
    expect(await counter.giveBack(couponId, old)).toBe(false);
    expect(await see(couponId)).toMatchObject({ left: 5, reserved: 0 });
    expect((await take(couponId, 7)).outcome).toBe('taken');
  });

  test('an outcome that comes when all is forgotten makes no counter', async () => {
    const couponId = await filled(5);
    const old = await reserve(couponId, 7);
    await redis.del(keyOf(couponId, 'stock'));
    await counter.giveBack(couponId, old);
    expect(await take(couponId, 8)).toEqual({ outcome: 'empty' });
    expect(await counter.fill(couponId, stockOf(5))).toBe(true);
  });
});

describe('correction', () => {
  const truth: Stock = { remaining: 42, dailyQuota: 9, quotaDay: DAY, quotaUsed: 4 };

  test('sets the counter when nothing has changed since it was read', async () => {
    const couponId = await filled(5);
    const { revision } = await counter.read(couponId);
    expect(await counter.correct(couponId, revision, truth)).toBe(true);
    expect((await counter.read(couponId)).stock).toEqual(truth);
    expect(await counter.correct(couponId, revision, stockOf(1))).toBe(false);
  });

  test('leaves it alone when something has, although all looks as before', async () => {
    const couponId = await filled(5);
    const { revision } = await counter.read(couponId);
    await counter.giveBack(couponId, await reserve(couponId, 7));
    expect(await counter.correct(couponId, revision, truth)).toBe(false);
    expect(await see(couponId)).toMatchObject({ left: 5 });
  });

  test('leaves it alone while something is reserved', async () => {
    const couponId = await filled(5);
    await reserve(couponId, 7);
    const { revision } = await counter.read(couponId);
    expect(await counter.correct(couponId, revision, truth)).toBe(false);
    expect(await see(couponId)).toMatchObject({ left: 4 });
  });

  test('leaves alone what was forgotten and filled again', async () => {
    const couponId = await filled(5);
    const { revision } = await counter.read(couponId);
    await redis.del(keyOf(couponId, 'stock'));
    await counter.fill(couponId, stockOf(7));
    expect(await counter.correct(couponId, revision, truth)).toBe(false);
    expect(await see(couponId)).toMatchObject({ left: 7 });
  });
});

test('reservations are found by their age, the oldest first, and no more than asked for', async () => {
  const couponId = await filled(5);
  for (const member of [9, 7, 8]) await reserve(couponId, member);
  expect(await counter.openReservations(couponId, 60_000, 10)).toEqual([]);
  // As if the clock of Redis had gone on.
  const reserved = keyOf(couponId, 'reserved');
  for (const [index, reservation] of (await redis.zrange(reserved, 0, '-1')).entries()) {
    await redis.zincrby(reserved, -120_000 + index, String(reservation));
  }
  const old = await counter.openReservations(couponId, 60_000, 2);
  expect(old).toHaveLength(2);
  const all = await counter.openReservations(couponId, 60_000, 10);
  expect(all.map(({ memberId }) => memberId).toSorted()).toEqual([7, 8, 9]);
  expect(all.slice(0, 2)).toEqual(old);
});

test('everything ends by itself, and lives on while it is used', async () => {
  const couponId = await filled(5);
  await counter.confirm(couponId, await reserve(couponId, 7));
  await reserve(couponId, 8);
  const keys = await redis.keys(`${prefix}coupon:{${couponId}}:*`);
  expect(keys).toHaveLength(3);
  const leftMs = () => Promise.all(keys.map((key) => redis.pttl(key)));
  for (const left of await leftMs()) {
    expect(left).toBeGreaterThan(KEEP_MS / 2);
    expect(left).toBeLessThanOrEqual(KEEP_MS);
  }
  for (const key of keys) await redis.pexpire(key, 1_000);
  await reserve(couponId, 9);
  for (const left of await leftMs()) expect(left).toBeGreaterThan(KEEP_MS / 2);
});
