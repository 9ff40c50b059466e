import { beforeAll, describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../../test/proxy.ts';
import type { CouponStrategyName } from '../../src/coupons/issue/index.ts';
import { type Commits, refusableCommits } from '../commits.ts';
import { type Reply, type Shops, startShops, untilFileEnds } from '../harness.ts';
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
  const ends = untilFileEnds();
  /** Each test has a coupon of its own. */
  let shops: Shops;
  /** On the same database, where nobody waits for a lock for long. */
  let impatient: Shops;
  /** On the same database, by a proxy that does to a COMMIT what it is told. */
  let behind: Shops;
  let fateNow: CommitFate = 'passes';
  /** On a database that refuses COMMITs. */
  let refused: Shops;
  let commits: Commits;
  beforeAll(async () => {
    shops = await startShops({ store, env, ends });
    const { databaseUrl } = shops;
    // One resolves reservations for all of them: or there would be more who might wait for a lock.
    const resolvesNone = { ...env, COUPON_RECONCILE_MS: '3600000' };
    impatient = await startShops({ databaseUrl, env: { ...resolvesNone, LOCK_WAIT_MS: '100' }, ends });
    const proxy = await startProxy(databaseUrl, () => fateNow);
    ends(() => proxy.close());
    const port = String(proxy.port);
    const url = Object.assign(new URL(databaseUrl), { port }).href;
    behind = await startShops({ databaseUrl: url, env: resolvesNone, ends });
    commits = await refusableCommits(store, 'issued_coupon', ends);
    refused = await startShops({
      databaseUrl: commits.databaseUrl,
      env: { ...env, LOCK_WAIT_MS: '100' },
      ends,
    });
  });

  describe.each(right)('%s', (strategy) => {
    test('a lock that is not granted in time is a refusal, and burns nothing', async () => {
      const id = await newCoupon(impatient);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);

      const reply = await ask(impatient, id, { member: 1, strategy });

      expect(reply.body).toMatchObject({ status: 400, code: 'lock-timeout' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(impatient, id, strategy);
    });

    test('a connection that is killed in the middle leaves nothing', async () => {
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
      const id = await newCoupon(refused);
      await commits.refuse();

      const reply = await ask(refused, id, { member: 1, strategy });

      await commits.allow();
      // MariaDB waits for the commit lock, and tells of it as of any other.
      expect([400, 503]).toContain(reply.status);
      expect(['lock-timeout', 'store-unavailable']).toContain(reply.body.code);
      await expectUntouched(refused, id, strategy);
    });

    test.each([
      ['carried out, and its answer lost', 'answer-lost'],
      ['lost on its way', 'request-lost'],
    ] as const)(
      'a COMMIT that is %s: 503, and in the end one for the member, and none lost',
      async (_what, fate) => {
        const id = await newCoupon(behind, { numberOfCoupons: 2 });
        fateNow = fate;

        const lost = await ask(behind, id, { member: 1, strategy });

        fateNow = 'passes';
        expect(lost.body).toMatchObject({ status: 503, code: 'store-unavailable' });
        expect(lost.body.message).toContain('Look whether it took effect');
        const again = await askUntilKnown(behind, id, strategy);
        expect(tally([again])).toEqual(fate === 'answer-lost' ? { '400 already-issued': 1 } : { ok: 1 });
        expect((await ask(behind, id, { member: 2, strategy })).body.data).toMatchObject({ serialNumber: 2 });
        expect(await stockOf(behind, id)).toMatchObject({ remaining: 0, members: [1, 2], serials: [1, 2] });
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
