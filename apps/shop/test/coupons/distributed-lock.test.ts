import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { newRedis } from '../../../../test/stores.ts';
import type { CouponStrategyName } from '../../src/coupons/issue/index.ts';
import type { Step } from '../../src/trace.ts';
import { startShops, stepsOf } from '../harness.ts';
import { startOwnProcess } from '../own-process.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

/** Leases that are over soon after their holder has stopped. */
const SHORT_LEASES = { DISTRIBUTED_LOCK_LEASE_MS: '200', COUPON_REDIS_LOCK_LEASE_MS: '200' };

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  /** Two instances, of which one can stand still. */
  async function openBench() {
    const shops = await startShops({ store, env: SHORT_LEASES });
    const stopping = await startOwnProcess({
      ...SHORT_LEASES,
      DATABASE_URL: shops.databaseUrl,
      REDIS_URL: inject('redisUrl'),
    });
    const instance = shops.join(stopping.url);

    /**
     * Member 1 asks an instance that stops after `step`. Then member 2 asks the other one; it goes on when he has his answer,
     * or waits for the row.
     */
    return async (strategy: CouponStrategyName, step: Step) => {
      const id = await newCoupon(shops);
      const first = ask(shops, id, { member: 1, strategy, instance, stopAt: step });
      await stopping.stopped(first);
      let answered = false;
      const second = ask(shops, id, { member: 2, strategy, instance: 0 }).finally(() => {
        answered = true;
      });
      await until(async () => answered || (await shops.waitingForLocks()) === 1);
      await stopping.goOn();
      const replies = await Promise.all([first, second]);
      return { answers: replies.map((reply) => tally([reply])), stock: await stockOf(shops, id) };
    };
  }

  const ok = { ok: 1 };
  const fenced = { '400 fenced': 1 };
  const soldTwice = { remaining: 4, serials: [1, 1] };

  test('redis-lock: who stops after he has read, for longer than his lease, sells the same coupon again', async () => {
    const stopAt = await openBench();
    const { answers, stock } = await stopAt('redis-lock', 'read');
    expect(answers).toEqual([ok, ok]);
    expect(stock).toMatchObject(soldTwice);
  });

  test('redis-lock-fenced: he is refused, wherever he stops before he has written, and nothing is lost', async () => {
    const stopAt = await openBench();
    for (const step of ['locked', 'registered', 'read'] as const) {
      const { answers, stock } = await stopAt('redis-lock-fenced', step);
      expect(answers, step).toEqual([fenced, ok]);
      expect(stock, step).toMatchObject({ remaining: 4, members: [2], serials: [1] });
    }
    for (const step of ['wrote', 'committed', 'unlocked'] as const) {
      const { answers, stock } = await stopAt('redis-lock-fenced', step);
      expect(answers, step).toEqual([ok, ok]);
      expect(stock, step).toMatchObject({ remaining: 3, members: [1, 2], serials: [1, 2] });
    }
  });

  test('redis-lock-inside: who reads between the unlocking and the commit of another sells the same coupon again', async () => {
    const stopAt = await openBench();
    const { answers, stock } = await stopAt('redis-lock-inside', 'unlocked');
    expect(answers).toEqual([ok, ok]);
    expect(stock).toMatchObject(soldTwice);
  });

  test('redis-lock: with the same lock outside of the transaction, he reads what the other has committed', async () => {
    const stopAt = await openBench();
    const { answers, stock } = await stopAt('redis-lock', 'unlocked');
    expect(answers).toEqual([ok, ok]);
    expect(stock).toMatchObject({ remaining: 3, serials: [1, 2] });
  });

  test('what each of them does, in order', async () => {
    const shops = await startShops({ store });
    const id = await newCoupon(shops);
    const fencedSteps = stepsOf(await ask(shops, id, { member: 1, strategy: 'redis-lock-fenced' }));
    expect(fencedSteps).toBe('locked,registered,read,wrote,committed,unlocked');
    const insideSteps = stepsOf(await ask(shops, id, { member: 2, strategy: 'redis-lock-inside' }));
    expect(insideSteps).toBe('locked,read,wrote,unlocked,committed');
    const refused = stepsOf(await ask(shops, id, { member: 1, strategy: 'redis-lock-fenced' }));
    expect(refused).toBe('locked,registered,read,unlocked');
  });

  test('an instance that ends refuses who waits for the lock, and finishes who has it', async () => {
    const shops = await startShops({ store, instances: 2 });
    const { redis } = newRedis();
    await redis.connect();
    onTestFinished(() => redis.disconnect());
    const id = await newCoupon(shops);
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const first = ask(shops, id, { member: 1, strategy: 'redis-lock-fenced', instance: 0 });
    await until(async () => (await shops.waitingForLocks()) === 1);
    const second = ask(shops, id, { member: 2, strategy: 'redis-lock-fenced', instance: 1 });
    // Somebody waits for it in Redis.
    const queues = `shop:distributed-lock:*${id}*:queue`;
    await until(async () => (await redis.keys(queues)).length === 1);

    const closed = shops.close();

    expect((await second).body).toMatchObject({ status: 400, code: 'lock-timeout' });
    await holder.query('COMMIT');
    holder.release();
    expect((await first).status).toBe(200);
    await closed;
    expect(await stockOf(shops, id)).toMatchObject({ remaining: 4, members: [1] });
  });
});

test('without lab mode nothing stops', async () => {
  const shops = await startShops();
  const id = await newCoupon(shops);
  const { url } = await startOwnProcess({ DATABASE_URL: shops.databaseUrl, LAB_MODE: '0' });
  const instance = shops.join(url);
  expect(tally([await ask(shops, id, { member: 1, instance, stopAt: 'committed' })])).toEqual({ ok: 1 });
});
