import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { barrier, together, until } from '../../../../test/barrier.ts';
import { type CommitFate, isRedisCommand, startProxy } from '../../../../test/proxy.ts';
import type { PublishedLock } from '../../src/coupons/issue/published-locks.ts';
import { redisCounter } from '../../src/coupons/issue/redis-counter.ts';
import type { StockCounter } from '../../src/coupons/issue/stock-counter.ts';
import { noTrace } from '../../src/trace.ts';
import { ask, tally } from './coupons.ts';
import {
  type Bench,
  expectExact,
  holdRow,
  openBench,
  STOCK,
  strategy,
  throughPort,
} from './redis-counter-bench.ts';

const noLock = () => Promise.reject(new Error('no lock is needed'));
const NO_LOCK: PublishedLock = { run: noLock };
const NO_LOCKS = {
  publishedLocks: { spin: NO_LOCK, waiting: NO_LOCK, close: () => undefined },
  locks: { run: noLock, close: async () => undefined },
};

const STORES = ['postgres', 'mariadb'] as const;

/** Everybody asks, until nothing is left. */
async function sellOut(bench: Bench, couponId: string, initial = STOCK) {
  const replies = await together(20, (index) => bench.ask(couponId, 1_000 + index));
  expect(Object.keys(tally(replies)).toSorted()).toEqual(['400 sold-out', 'ok']);
  await expectExact(bench, couponId, initial, initial);
}

/** A proxy before Redis that does this to the nth script that passes through it. */
async function redisProxy(fateOf: (script: number) => CommitFate) {
  const proxy = await startProxy(inject('redisUrl'), fateOf, isRedisCommand('EVAL'));
  onTestFinished(() => proxy.close());
  return { ...proxy, url: throughPort(inject('redisUrl'), proxy.port) };
}

const only =
  (script: number, fate: CommitFate) =>
  (number: number): CommitFate =>
    number === script ? fate : 'passes';

describe.each(STORES)('on %s', (store) => {
  test('who is refused by Redis does not come to the row, which somebody holds', async () => {
    const bench = await openBench(store);
    const [gone, daily] = [
      await bench.newCoupon({ numberOfCoupons: 1 }),
      await bench.newCoupon({ dailyQuota: 1 }),
    ];
    for (const id of [gone, daily]) expect((await bench.ask(id, 1)).status).toBe(200);
    const letGo = [await holdRow(bench.shops, gone), await holdRow(bench.shops, daily)];
    const replies = [await bench.ask(gone, 1), await bench.ask(gone, 2), await bench.ask(daily, 2)];
    expect(replies.map(({ body }) => body.code)).toEqual(['already-issued', 'sold-out', 'quota-reached']);
    for (const end of letGo) await end();
    for (const id of [gone, daily]) await expectExact(bench, id, 1, id === gone ? 1 : STOCK);
  });

  test('where there is no counter, one of those who ask at once fills it, and the others wait for him', async () => {
    const bench = await openBench(store);
    const id = await bench.newCoupon();
    let fills = 0;
    const counter: StockCounter = {
      ...bench.counter,
      fill(...args) {
        fills++;
        return bench.counter.fill(...args);
      },
    };
    const issue = redisCounter({
      ...bench.database,
      redis: { counter, ...NO_LOCKS },
      groups: bench.database.sql,
      settings: { lockWaitMs: 5_000, together: true, retryAttempts: 1, retryPauseMs: 0 },
      onTrouble: () => undefined,
    });
    const outcomes = await together(20, (index) =>
      issue({
        couponId: id,
        memberId: index + 1,
        day: '2026-03-01',
        actor: { strategy, instance: 'test', requestId: 'test' },
        trace: noTrace,
      }),
    );
    expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(STOCK);
    expect(fills).toBe(1);
    await expectExact(bench, id, STOCK);
  });

  test('who asks again while his reservation is under way hears so', async () => {
    const bench = await openBench(store);
    const id = await bench.newCoupon();
    const letGo = await holdRow(bench.shops, id);
    const first = bench.ask(id, 1);
    await bench.reserved(id, 1);
    expect((await bench.ask(id, 1)).body).toMatchObject({ status: 400, code: 'in-progress' });
    await letGo();
    expect((await first).status).toBe(200);
    expect((await bench.ask(id, 1)).body.code).toBe('already-issued');
    await expectExact(bench, id, 1);
  });

  describe('one side knows more than the other', () => {
    test('the counter is too high: the rows refuse the one too many, and nobody asks them in vain again', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon({ numberOfCoupons: 1 });
      await bench.ask(id, 1);
      await bench.redis.hset(bench.keyOf(id, 'stock'), 'left', 100);
      expect((await bench.ask(id, 2)).body.code).toBe('sold-out');
      await expectExact(bench, id, 1, 1);
    });

    test('the day’s quota was used up past the counter: the rows refuse, and the counter learns it', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon({ dailyQuota: 2 });
      await bench.ask(id, 1);
      await ask(bench.shops, id, { member: 2, strategy: 'conditional-update' });
      expect((await bench.ask(id, 3)).body.code).toBe('quota-reached');
      expect(await bench.see(id)).toMatchObject({ used: 2, reserved: 0 });
      await bench.reconcile();
      await expectExact(bench, id, 2);
    });

    test('the member got one past the counter: he is refused by the rows once, what he took is there again', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon();
      await bench.ask(id, 1);
      await ask(bench.shops, id, { member: 2, strategy: 'conditional-update' });
      for (let asked = 0; asked < 2; asked++) {
        expect((await bench.ask(id, 2)).body.code).toBe('already-issued');
        expect(await bench.see(id)).toMatchObject({ left: 4, reserved: 0 });
      }
      expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 0, corrected: 1 });
      await expectExact(bench, id, 2);
    });

    test('the counter is too low: it refuses what is left, until it is corrected', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon();
      await bench.ask(id, 1);
      await bench.redis.hset(bench.keyOf(id, 'stock'), 'left', 0);
      expect((await bench.ask(id, 2)).body.code).toBe('sold-out');
      expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 0, corrected: 1 });
      await sellOut(bench, id);
    });

    test('a day that is counted too high is corrected too', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon({ dailyQuota: 2 });
      await bench.ask(id, 1);
      await bench.redis.hset(bench.keyOf(id, 'stock'), 'used', 2);
      expect((await bench.ask(id, 2)).body.code).toBe('quota-reached');
      expect(await bench.reconcile()).toMatchObject({ corrected: 1 });
      expect((await bench.ask(id, 2)).status).toBe(200);
      await expectExact(bench, id, 2);
    });
  });

  describe('an answer is lost', () => {
    test('of Redis, to the reservation: nobody has one; it is given back when it is old enough', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon();
      await bench.ask(id, 1);
      const proxy = await redisProxy(only(1, 'answer-lost'));
      const behind = await bench.another({ REDIS_URL: proxy.url });

      const lost = await ask(behind, id, { member: 2, strategy });

      expect(lost.body).toMatchObject({ status: 503, code: 'store-unavailable' });
      expect(await bench.reconcile(60_000)).toMatchObject({ givenBack: 0 });
      expect((await bench.ask(id, 2)).body.code).toBe('in-progress');
      expect(await bench.see(id)).toMatchObject({ left: 3, reserved: 1 });
      expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 1, corrected: 0 });
      expect((await bench.ask(id, 2)).status).toBe(200);
      await expectExact(bench, id, 2);
    });

    test('of Redis, to the confirmation, or it never arrives: the member has his, and it is confirmed later', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon();
      await bench.ask(id, 1);
      const proxy = await redisProxy(only(2, 'request-lost'));
      const behind = await bench.another({ REDIS_URL: proxy.url });

      expect((await ask(behind, id, { member: 2, strategy })).status).toBe(200);

      expect(await bench.see(id)).toMatchObject({ left: 3, reserved: 1 });
      expect(await bench.reconcile()).toEqual({ confirmed: 1, givenBack: 0, corrected: 0 });
      expect((await bench.ask(id, 2)).body.code).toBe('already-issued');
      await expectExact(bench, id, 2);
    });

    describe.each([
      ['request-lost', { left: 3, used: 2, reserved: 1 }, [0, 1]],
      ['answer-lost', { left: 4, used: 1, reserved: 0 }, [0, 0]],
    ] as const)('of Redis, to what is given back (%s)', (fate, seen, givenBack) => {
      test('it is given back later if it was not yet: once, and no more than was taken', async () => {
        const bench = await openBench(store);
        const id = await bench.newCoupon();
        await bench.ask(id, 1);
        const proxy = await redisProxy(only(2, fate));
        const behind = await bench.another({ REDIS_URL: proxy.url, LOCK_WAIT_MS: '100' });
        const letGo = await holdRow(bench.shops, id);

        expect((await ask(behind, id, { member: 2, strategy })).body.code).toBe('lock-timeout');

        await letGo();
        expect(await bench.see(id)).toEqual(seen);
        expect(await bench.reconcile(60_000)).toMatchObject({ givenBack: 0 });
        expect(await bench.see(id)).toEqual(seen);
        // Two instances find it before either gives it back.
        const bothHaveFound = barrier(2);
        const inStep: StockCounter = {
          ...bench.counter,
          async openReservations(...args) {
            const found = await bench.counter.openReservations(...args);
            await bothHaveFound();
            return found;
          },
        };
        const rounds = await together(2, () => bench.reconcilerOf(0, inStep).reconcileOnce());
        expect(rounds.map((mended) => mended.givenBack).toSorted()).toEqual(givenBack);
        // So the counts below come from what was given back.
        expect(rounds.map(({ corrected }) => corrected)).toEqual([0, 0]);
        expect(await bench.see(id)).toEqual({ left: 4, used: 1, reserved: 0 });
        await expectExact(bench, id, 1);
      });
    });

    test('of Redis, to what is given back of a member who got one past the counter: his reservation stands for it', async () => {
      const bench = await openBench(store);
      const id = await bench.newCoupon();
      await bench.ask(id, 1);
      await ask(bench.shops, id, { member: 2, strategy: 'conditional-update' });
      const proxy = await redisProxy(only(2, 'request-lost'));
      const behind = await bench.another({ REDIS_URL: proxy.url });

      expect((await ask(behind, id, { member: 2, strategy })).body.code).toBe('already-issued');

      expect(await bench.see(id)).toEqual({ left: 3, used: 2, reserved: 1 });
      expect(await bench.reconcile()).toEqual({ confirmed: 1, givenBack: 0, corrected: 0 });
      await expectExact(bench, id, 2);
    });

    describe.each([
      ['answer-lost', { confirmed: 1, givenBack: 0, corrected: 0 }],
      ['request-lost', { confirmed: 0, givenBack: 1, corrected: 0 }],
    ] as const)('of the database, to the COMMIT (%s)', (fate, mended) => {
      test('nothing is given back before the rows are asked, and then what they say counts', async () => {
        const bench = await openBench(store);
        const id = await bench.newCoupon();
        await bench.ask(id, 1);
        let armed = false;
        const proxy = await startProxy(bench.databaseUrl, () => (armed ? fate : 'passes'));
        onTestFinished(() => proxy.close());
        const behind = await bench.another({}, throughPort(bench.databaseUrl, proxy.port));
        armed = true;

        const lost = await ask(behind, id, { member: 2, strategy });

        armed = false;
        expect(lost.body).toMatchObject({ status: 503, code: 'store-unavailable' });
        expect(await bench.see(id)).toMatchObject({ left: 3, reserved: 1 });
        expect(await bench.reconcile()).toEqual(mended);
        await expectExact(bench, id, 1 + mended.confirmed);
        const again = await bench.ask(id, 2);
        expect(again.body.code).toBe(mended.confirmed === 1 ? 'already-issued' : undefined);
        await expectExact(bench, id, 2);
      });
    });
  });

  test('a lock that is not granted in time: what was reserved is given back at once', async () => {
    const bench = await openBench(store);
    const impatient = await bench.another({ LOCK_WAIT_MS: '100' });
    const id = await bench.newCoupon();
    const letGo = await holdRow(bench.shops, id);
    expect((await ask(impatient, id, { member: 1, strategy })).body.code).toBe('lock-timeout');
    expect(await bench.see(id)).toEqual({ left: STOCK, used: 0, reserved: 0 });
    await letGo();
    await sellOut(bench, id);
  });

  test('given back too early, while the owner stands still: the rows refuse the one too many', async () => {
    const bench = await openBench(store, { instances: 2 });
    const id = await bench.newCoupon({ numberOfCoupons: 1 });
    const letGo = await holdRow(bench.shops, id);
    const stalled = bench.ask(id, 1, 0);
    await bench.reserved(id, 1);
    await until(async () => (await bench.shops.waitingForLocks()) === 1);
    expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 1, corrected: 0 });
    const second = bench.ask(id, 2, 1);
    await until(async () => (await bench.shops.waitingForLocks()) === 2);

    await letGo();

    expect((await stalled).status).toBe(200);
    expect((await second).body.code).toBe('sold-out');
    await expectExact(bench, id, 1, 1);
  });

  test('given back too early, and nobody asks for the one too many: the counter is corrected', async () => {
    const bench = await openBench(store);
    const id = await bench.newCoupon();
    const letGo = await holdRow(bench.shops, id);
    const stalled = bench.ask(id, 1);
    await until(async () => (await bench.shops.waitingForLocks()) === 1);
    await bench.reconcile();
    await letGo();
    expect((await stalled).status).toBe(200);
    expect(await bench.see(id)).toMatchObject({ left: STOCK, reserved: 0 });
    expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 0, corrected: 1 });
    await expectExact(bench, id, 1);
  });

  test('a race of 60 on two instances, while reservations are given back as soon as they are made', async () => {
    const bench = await openBench(store, { instances: 2 });
    const initial = 20;
    const id = await bench.newCoupon({ numberOfCoupons: initial });
    const hasty = bench.reconcilerOf(0);
    let [racing, givenBack] = [true, 0];
    const rounds = (async () => {
      while (racing) givenBack += (await hasty.reconcileOnce()).givenBack;
    })();
    onTestFinished(() => {
      racing = false;
      return rounds;
    });
    const letGo = await holdRow(bench.shops, id);
    const asking = together(60, (index) => bench.ask(id, index + 1, index % 2));
    // While their owners wait for the row.
    await until(() => givenBack > 0);
    await letGo();
    const replies = await asking;
    racing = false;
    await rounds;
    expect(bench.troubles).toEqual([]);
    await bench.reconcile();
    const { ok = 0 } = tally(replies);
    await expectExact(bench, id, ok, initial);
    if (ok < initial) await sellOut(bench, id, initial);
  });
});
