import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { isRedisCommand, startProxy } from '../../../../test/proxy.ts';
import { startShops, stepsOf } from '../harness.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

const SHORT_MS = '50';
const LONG_MS = '60000';
const strategies = ['redis-spin-lock', 'redis-lock'] as const;

/** A lease for both locks, and hardly a pause between the attempts of the spin lock. */
const env = (leaseMs: string) => ({
  COUPON_SPIN_LEASE_MS: leaseMs,
  COUPON_REDIS_LOCK_LEASE_MS: leaseMs,
  COUPON_SPIN_PAUSE_MS: '2',
});

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  describe.each(strategies)('%s', (strategy) => {
    /** Two ask one after the other while the row cannot be written; it can when `stuck` of them have come so far. */
    async function whileHeld(leaseMs: string, stuck: number) {
      const shops = await startShops({ store, instances: 2, env: env(leaseMs) });
      const id = await newCoupon(shops);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
      const first = ask(shops, id, { member: 1, strategy, instance: 0 });
      await until(async () => (await shops.waitingForLocks()) === 1);
      const second = ask(shops, id, { member: 2, strategy, instance: 1 });
      await until(async () => (await shops.waitingForLocks()) === stuck);
      await holder.query('COMMIT');
      holder.release();
      return { replies: await Promise.all([first, second]), stock: await stockOf(shops, id) };
    }

    test('outlasted by its holder, who reads and writes on: two write the same number', async () => {
      const { replies, stock } = await whileHeld(SHORT_MS, 2);
      expect(tally(replies)).toEqual({ ok: 2 });
      expect(stock).toMatchObject({ remaining: 4, serials: [1, 1] });
    });

    test('with a lease that is long enough, the second reads what the first has committed', async () => {
      const { replies, stock } = await whileHeld(LONG_MS, 1);
      expect(tally(replies)).toEqual({ ok: 2 });
      expect(stock).toMatchObject({ remaining: 3, members: [1, 2], serials: [1, 2] });
      expect(replies.map(stepsOf)).toEqual(Array(2).fill('locked,read,wrote,committed,unlocked'));
    });

    test('an instance that ends refuses who waits for the lock, and finishes who has it', async () => {
      let attempts = 0;
      const proxy = await startProxy(
        inject('redisUrl'),
        () => {
          attempts++;
          return 'passes';
        },
        isRedisCommand(strategy === 'redis-lock' ? 'EVAL' : 'SET'),
      );
      onTestFinished(() => proxy.close());
      const redisUrl = Object.assign(new URL(inject('redisUrl')), { port: String(proxy.port) }).href;
      const shops = await startShops({ store, env: { ...env(LONG_MS), REDIS_URL: redisUrl } });
      const id = await newCoupon(shops);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
      const first = ask(shops, id, { member: 1, strategy });
      await until(async () => (await shops.waitingForLocks()) === 1);
      const attemptsBefore = attempts;
      const second = ask(shops, id, { member: 2, strategy });
      await until(() => attempts > attemptsBefore + 1);

      const closed = shops.close();

      expect((await second).body).toMatchObject({ status: 400, code: 'lock-timeout' });
      await holder.query('COMMIT');
      holder.release();
      expect((await first).status).toBe(200);
      await closed;
      expect(await stockOf(shops, id)).toMatchObject({ remaining: 4, members: [1] });
    });
  });
});
