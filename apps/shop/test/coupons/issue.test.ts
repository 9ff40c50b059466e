import { beforeAll, describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { twoStores } from '../../../../test/stores.ts';
import { type CouponStrategyName, couponStrategyNames } from '../../src/coupons/issue/index.ts';
import { type Shops, startShops, untilFileEnds } from '../harness.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

const WRONG: CouponStrategyName[] = ['none', 'mutex', 'optimistic-retry-inside', 'redis-lock-inside'];
/** Right, but whoever has met too many deadlocks is turned away. */
const CRAWLS: CouponStrategyName[] = ['pessimistic-shared'];
/** And who may ask for it: with `alone`, where nobody shares a transaction with anybody. */
interface Way {
  readonly name: string;
  readonly strategy: CouponStrategyName;
  readonly alone: boolean;
}
const ALONE: Way = { name: 'group-commit, each alone', strategy: 'group-commit', alone: true };
const right: Way[] = [
  ...couponStrategyNames
    .filter((name) => !WRONG.includes(name) && !CRAWLS.includes(name))
    .map((name) => ({ name, strategy: name, alone: false })),
  ALONE,
];
/** The spin lock would keep everybody for seconds. */
const env = { COUPON_SPIN_PAUSE_MS: '5', COUPON_RETRY_PAUSE_MS: '2' };

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe.each(twoStores)('on %s', (store) => {
  const ends = untilFileEnds();
  /** Two instances, for all: each has a coupon of its own. */
  let shops: Shops;
  /** On the same database, without group commit. */
  let loners: Shops;
  beforeAll(async () => {
    shops = await startShops({ store, env, instances: 2, ends });
    const { databaseUrl } = shops;
    loners = await startShops({ databaseUrl, env: { ...env, GROUP_COMMIT: '0' }, instances: 2, ends });
  });
  const askedOf = ({ alone }: Way) => (alone ? loners : shops);

  test('one request at a time: every strategy numbers, counts down, refuses a second one and what is sold out', async () => {
    for (const strategy of couponStrategyNames) {
      const id = await newCoupon(shops, { numberOfCoupons: 2 });
      const first = await ask(shops, id, { member: 1, strategy });
      expect(first.body.data, strategy).toMatchObject({
        id,
        serialNumber: 1,
        remaining: 1,
        numberOfCoupons: 2,
      });
      expect(tally([await ask(shops, id, { member: 1, strategy })]), strategy).toEqual({
        '400 already-issued': 1,
      });
      const last = await ask(shops, id, { member: 2, strategy });
      expect(last.body.data, strategy).toMatchObject({ serialNumber: 2, remaining: 0 });
      // The last coupon is the last.
      expect(tally([await ask(shops, id, { member: 3, strategy })]), strategy).toEqual({ '400 sold-out': 1 });
      expect(await stockOf(shops, id), strategy).toMatchObject({
        remaining: 0,
        members: [1, 2],
        serials: [1, 2],
      });
    }
  });

  test.each(right)(
    '$name: 40 members at once on two instances, 10 coupons: exactly 10, numbered without gaps',
    async (way) => {
      const { strategy } = way;
      const id = await newCoupon(shops, { numberOfCoupons: 10 });
      const replies = await together(40, (index) =>
        ask(askedOf(way), id, { member: index + 1, strategy, instance: index % 2 }),
      );
      expect(tally(replies)).toEqual({ ok: 10, '400 sold-out': 30 });
      const stock = await stockOf(shops, id);
      expect(stock.remaining).toBe(0);
      expect(stock.serials.toSorted((a, b) => a - b)).toEqual(numbers(10));
      expect(new Set(stock.members).size).toBe(10);
      const left = replies.filter(({ status }) => status === 200).map(({ body }) => body.data.remaining);
      expect(left.toSorted()).toEqual(numbers(10).map((number) => number - 1));
    },
  );

  test.each(right)('$name: one member ten times at once gets one, and burns nothing', async (way) => {
    const { strategy } = way;
    const id = await newCoupon(shops);
    const replies = await together(10, (index) =>
      ask(askedOf(way), id, { member: 7, strategy, instance: index % 2 }),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { body } of replies) {
      if (!body.success) expect(body.code).toMatch(/^(already-issued|in-progress)$/);
    }
    expect(await stockOf(shops, id)).toMatchObject({
      remaining: 4,
      members: [7],
      serials: [1],
      quotaUsed: 1,
    });
  });

  test.each(right)('$name: a day’s quota of 3 is never exceeded, and the rest stays', async (way) => {
    const { strategy } = way;
    const id = await newCoupon(shops, { numberOfCoupons: 20, dailyQuota: 3 });
    const replies = await together(20, (index) =>
      ask(askedOf(way), id, { member: index + 1, strategy, instance: index % 2 }),
    );
    expect(tally(replies)).toEqual({ ok: 3, '400 quota-reached': 17 });
    expect(await stockOf(shops, id)).toMatchObject({ remaining: 17, quotaUsed: 3 });
  });

  /**
   * Asks at once while somebody holds the coupon's row, and lets it go when everybody has got as far as he can get: all
   * who read without a lock have read the same stock by then.
   */
  async function whileHeld(
    strategy: CouponStrategyName,
    options: { asking: number; instances: number; member?: number; of?: Shops },
  ) {
    const { instances, of = shops } = options;
    const id = await newCoupon(of);
    const holder = await of.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const asking = together(options.asking, (index) =>
      ask(of, id, {
        member: options.member ?? index + 1,
        strategy,
        instance: index % instances,
      }),
    );
    // Those of one instance who share a transaction wait in one.
    const inOne = strategy === 'mutex' || (strategy === 'group-commit' && of !== loners);
    const stuck = inOne ? instances : options.asking;
    await until(async () => (await of.waitingForLocks()) === stuck);
    await holder.query('COMMIT');
    holder.release();
    const replies = await asking;
    return { replies, answers: tally(replies), stock: await stockOf(of, id) };
  }

  describe('the mistakes', () => {
    test('none: five read the same stock, five get number 1, and one is taken off', async () => {
      const { answers, stock } = await whileHeld('none', { asking: 5, instances: 1 });
      expect(answers).toEqual({ ok: 5 });
      expect(stock).toMatchObject({ remaining: 4, serials: [1, 1, 1, 1, 1] });
    });

    test('none: one member gets as many as he asks for at once', async () => {
      const { stock } = await whileHeld('none', { asking: 3, instances: 1, member: 9 });
      expect(stock.members).toEqual([9, 9, 9]);
    });

    test('mutex: on one instance one after the other', async () => {
      const { answers, stock } = await whileHeld('mutex', { asking: 3, instances: 1 });
      expect(answers).toEqual({ ok: 3 });
      expect(stock).toMatchObject({ remaining: 2, serials: [1, 2, 3] });
    });

    test('mutex: on two instances two read the same stock', async () => {
      const { stock } = await whileHeld('mutex', { asking: 2, instances: 2 });
      expect(stock).toMatchObject({ remaining: 4, serials: [1, 1] });
    });

    test('optimistic-retry-inside: the loop never sees the conflict, and members lose what was there for them', async () => {
      const { answers, stock } = await whileHeld('optimistic-retry-inside', { asking: 4, instances: 1 });
      expect(answers).toEqual({ ok: 1, '500 concurrency-failure': 3 });
      expect(stock).toMatchObject({ remaining: 4, serials: [1] });
    });
  });

  const readOrWait = ['conditional-update', 'pessimistic', 'optimistic-retry', 'group-commit'];
  test.each(right.filter(({ strategy }) => readOrWait.includes(strategy)))(
    '$name: those who read the same stock, or wait for it, all get a number of their own',
    async (way) => {
      const of = askedOf(way);
      const { answers, stock } = await whileHeld(way.strategy, { asking: 4, instances: 2, of });
      expect(answers).toEqual({ ok: 4 });
      expect(stock).toMatchObject({ remaining: 1 });
      expect(stock.serials.toSorted()).toEqual([1, 2, 3, 4]);
    },
  );

  test('optimistic-retry: with fewer attempts than rivals somebody is turned away, and nothing is wrong', async () => {
    const impatient = await startShops({ store, env: { ...env, COUPON_RETRY_ATTEMPTS: '1' } });
    const { replies, stock } = await whileHeld('optimistic-retry', {
      asking: 3,
      instances: 1,
      of: impatient,
    });
    expect(tally(replies)).toEqual({ ok: 1, '400 contended': 2 });
    expect(stock).toMatchObject({ remaining: 4, serials: [1] });
    expect(replies.map(({ headers }) => headers.get('x-retries'))).toEqual(['0', '0', '0']);
  });
});
