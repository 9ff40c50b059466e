import { describe, expect, onTestFinished, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../../test/proxy.ts';
import { newDatabase } from '../../../../test/stores.ts';
import type { CouponStrategyName } from '../../src/coupons/issue/index.ts';
import { refusableCommits } from '../commits.ts';
import { type Reply, type Shops, startShops } from '../harness.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

/** What is not published as wrong, or as uncertain. */
const right: CouponStrategyName[] = [
  'conditional-update',
  'pessimistic',
  'pessimistic-force-increment',
  'optimistic-retry',
  'redis-counter',
];

/** Reservations whose outcome nobody knows are soon resolved here. */
const env = { COUPON_RESERVATION_MS: '100', COUPON_RECONCILE_MS: '50' };

/** Asks until it is known what became of what he asked before. */
async function askUntilKnown(shops: Shops, id: string, strategy: CouponStrategyName): Promise<Reply> {
  let reply = await ask(shops, id, { member: 1, strategy });
  await until(async () => {
    if (reply.body.code !== 'in-progress') return true;
    reply = await ask(shops, id, { member: 1, strategy });
    return false;
  });
  return reply;
}

/** Nothing was taken, and whoever asks again gets it. */
async function expectUntouched(shops: Shops, id: string, strategy: CouponStrategyName) {
  expect(await stockOf(shops, id)).toEqual({ remaining: 5, quotaUsed: 0, members: [], serials: [] });
  expect((await askUntilKnown(shops, id, strategy)).body.data).toMatchObject({ serialNumber: 1 });
  expect(await stockOf(shops, id)).toMatchObject({ remaining: 4, members: [1] });
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  describe.each(right)('%s', (strategy) => {
    test('a lock that is not granted in time is a refusal, and burns nothing', async () => {
      const shops = await startShops({ store, env: { ...env, LOCK_WAIT_MS: '100' } });
      const id = await newCoupon(shops);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);

      const reply = await ask(shops, id, { member: 1, strategy });

      expect(reply.body).toMatchObject({ status: 400, code: 'lock-timeout' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(shops, id, strategy);
    });

    test('a connection that is killed in the middle leaves nothing', async () => {
      const shops = await startShops({ store, env });
      const id = await newCoupon(shops);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
      const asking = ask(shops, id, { member: 1, strategy });
      await until(async () => (await shops.waitingForLocks()) === 1);

      await shops.killWaiting();

      expect((await asking).body).toMatchObject({ status: 503, code: 'store-unavailable' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(shops, id, strategy);
    });

    test('a COMMIT that is refused leaves nothing', async () => {
      const commits = await refusableCommits(store, 'issued_coupon');
      const shops = await startShops({
        databaseUrl: commits.databaseUrl,
        env: { ...env, LOCK_WAIT_MS: '100' },
      });
      const id = await newCoupon(shops);
      await commits.refuse();

      const reply = await ask(shops, id, { member: 1, strategy });

      await commits.allow();
      // MariaDB waits for the commit lock, and tells of it as of any other.
      expect([400, 503]).toContain(reply.status);
      expect(['lock-timeout', 'store-unavailable']).toContain(reply.body.code);
      await expectUntouched(shops, id, strategy);
    });

    test.each([
      ['carried out, and its answer lost', 'answer-lost'],
      ['lost on its way', 'request-lost'],
    ] as const)(
      'a COMMIT that is %s: 503, and in the end one for the member, and none lost',
      async (_what, fate) => {
        const databaseUrl = await newDatabase(store);
        let fateNow: CommitFate = 'passes';
        const proxy = await startProxy(databaseUrl, () => fateNow);
        onTestFinished(() => proxy.close());
        const shops = await startShops({
          databaseUrl: Object.assign(new URL(databaseUrl), { port: String(proxy.port) }).href,
          env,
        });
        const id = await newCoupon(shops, { numberOfCoupons: 2 });
        fateNow = fate;

        const lost = await ask(shops, id, { member: 1, strategy });

        fateNow = 'passes';
        expect(lost.body).toMatchObject({ status: 503, code: 'store-unavailable' });
        expect(lost.body.message).toContain('Look whether it took effect');
        const again = await askUntilKnown(shops, id, strategy);
        expect(tally([again])).toEqual(fate === 'answer-lost' ? { '400 already-issued': 1 } : { ok: 1 });
        expect((await ask(shops, id, { member: 2, strategy })).body.data).toMatchObject({ serialNumber: 2 });
        expect(await stockOf(shops, id)).toMatchObject({ remaining: 0, members: [1, 2], serials: [1, 2] });
      },
    );
  });

  test('pessimistic-shared: those who share the row and all want it are a deadlock; it is tried again and nothing is wrong', async () => {
    const shops = await startShops({ store, instances: 2 });
    const id = await newCoupon(shops);
    // Nobody gets to the update before all share the row.
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const asking = together(3, (index) =>
      ask(shops, id, { member: index + 1, strategy: 'pessimistic-shared', instance: index % 2 }),
    );
    await until(async () => (await shops.waitingForLocks()) === 3);
    await holder.query('ROLLBACK');
    holder.release();
    const replies = await asking;
    const retries = replies.map(({ headers }) => Number(headers.get('x-retries')));
    expect(Math.max(...retries)).toBeGreaterThan(0);
    const granted = replies.filter(({ status }) => status === 200).length;
    expect(granted).toBeGreaterThan(0);
    const stock = await stockOf(shops, id);
    expect(stock.remaining).toBe(5 - granted);
    expect(stock.serials.toSorted()).toEqual([1, 2, 3].slice(0, granted));
  });
});
