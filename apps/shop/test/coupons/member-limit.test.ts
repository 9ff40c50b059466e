import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { memberLimit, TooManyRequestsError } from '../../src/http/member-limit.ts';
import { startShops } from '../harness.ts';
import { ask, newCoupon, refusal, stockOf, tally } from './coupons.ts';

describe('the limit', () => {
  /** Work that goes on until it is told how to end. */
  function work() {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    return { start: () => promise, resolve, reject };
  }

  test('lets as many of a member run as it says, and does not begin the next', async () => {
    const limit = memberLimit({ most: 2, windowMs: 0 });
    const [first, second] = [work(), work()];
    const running = [limit.run(7, first.start), limit.run(7, second.start)];
    let began = false;
    const third = await limit.run(7, async () => {
      began = true;
    });
    expect({ third, began }).toEqual({ third: undefined, began: false });
    expect(await limit.run(8, async () => 'another member')).toBe('another member');

    first.resolve('first');
    expect(await running[0]).toBe('first');
    expect(await limit.run(7, async () => 'next')).toBe('next');
    second.resolve('second');
    expect(await running[1]).toBe('second');
  });

  test('whoever is refused does not count', async () => {
    const limit = memberLimit({ most: 1, windowMs: 0 });
    const first = work();
    const running = limit.run(7, first.start);
    for (let again = 0; again < 3; again++) expect(await limit.run(7, async () => 'x')).toBeUndefined();
    first.resolve('first');
    await running;
    expect(await limit.run(7, async () => 'next')).toBe('next');
    expect(await limit.run(7, async () => 'and the next')).toBe('and the next');
  });

  test('work that fails gives its place back, whether it rejects or throws, and the member hears why', async () => {
    const limit = memberLimit({ most: 1, windowMs: 0 });
    const broken = new Error('broken');
    for (let again = 0; again < 3; again++) {
      await expect(limit.run(7, () => Promise.reject(broken))).rejects.toBe(broken);
      const thrown = limit.run(7, () => {
        throw broken;
      });
      await expect(thrown).rejects.toBe(broken);
    }
    expect(await limit.run(7, async () => 'next')).toBe('next');
  });

  test('of two places, one that fails gives back one', async () => {
    const limit = memberLimit({ most: 2, windowMs: 0 });
    const [first, second] = [work(), work()];
    const running = limit.run(7, first.start);
    const failing = limit.run(7, second.start);
    second.reject(new Error('broken'));
    await expect(failing).rejects.toThrow('broken');
    const third = work();
    const next = limit.run(7, third.start);
    expect(await limit.run(7, async () => 'x')).toBeUndefined();
    first.resolve('first');
    third.resolve('third');
    expect(await Promise.all([running, next])).toEqual(['first', 'third']);
  });

  test('each counts for the window from its begin, however soon it ends', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const limit = memberLimit({ most: 2, windowMs: 1_000 });
    expect(await limit.run(7, async () => 'first')).toBe('first');
    vi.advanceTimersByTime(400);
    expect(await limit.run(7, async () => 'second')).toBe('second');
    expect(limit.isReached(7)).toBe(true);
    expect(limit.isReached(8)).toBe(false);
    vi.advanceTimersByTime(599);
    expect(await limit.run(7, async () => 'too soon')).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect(limit.isReached(7)).toBe(false);
    expect(await limit.run(7, async () => 'third')).toBe('third');
    expect(limit.isReached(7)).toBe(true);
  });

  test('whoever is under way counts also after his window, until he ends', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const limit = memberLimit({ most: 1, windowMs: 1_000 });
    const first = work();
    const running = limit.run(7, first.start);
    vi.advanceTimersByTime(5_000);
    expect(limit.isReached(7)).toBe(true);
    first.resolve('first');
    await running;
    expect(limit.isReached(7)).toBe(false);
  });

  test('has one timer for all, and none when nobody counts any more', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const limit = memberLimit({ most: 1, windowMs: 1_000 });
    for (let member = 1; member <= 100; member++) await limit.run(member, async () => 'x');
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1_000);
    expect(vi.getTimerCount()).toBe(0);
    await limit.run(1, async () => 'x');
    expect(vi.getTimerCount()).toBe(1);
    limit.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('refuses after a pause from 0.5 to 1.5 s, and at once when it closes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const limit = memberLimit({ most: 1, windowMs: 0 });
    let refused = 0;
    const count = (error: unknown) => {
      expect(error).toBeInstanceOf(TooManyRequestsError);
      refused++;
    };
    const first = limit.refuse().catch(count);
    await vi.advanceTimersByTimeAsync(499);
    expect(refused).toBe(0);
    await vi.advanceTimersByTimeAsync(1_001);
    expect(refused).toBe(1);
    const paused = [limit.refuse().catch(count), limit.refuse().catch(count)];
    limit.close();
    await Promise.all([first, ...paused, limit.refuse().catch(count)]);
    expect(refused).toBe(4);
  });
});

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  test('while two requests of a member wait, his third is turned away, and nobody else', async () => {
    const env = { COUPON_REQUESTS_PER_MEMBER: '2', LOCK_WAIT_MS: '20000' };
    const shops = await startShops({ store, env, instances: 2 });
    const [held, free] = [await newCoupon(shops), await newCoupon(shops)];
    const strategy = 'conditional-update';
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${held}' FOR UPDATE`);
    const waiting = [1, 2].map(() => ask(shops, held, { member: 7, strategy }));
    await until(async () => (await shops.waitingForLocks()) === 2);

    // Whatever he asks for.
    for (const couponId of [held, free]) {
      const third = await ask(shops, couponId, { member: 7, strategy });
      expect(third.body).toEqual(refusal(429, 'too-many-requests'));
      expect(third.status).toBe(429);
      expect(third.headers.get('retry-after')).toBe('1');
    }
    expect(await stockOf(shops, free)).toMatchObject({ remaining: 5, members: [] });
    expect((await ask(shops, free, { member: 8, strategy })).status).toBe(200);
    // What he only looks at is not counted.
    const look = await shops.call('GET', '/api/members/me/coupons', undefined, { 'x-member-id': '7' });
    expect(look.status).toBe(200);
    // Each instance counts for itself.
    expect((await ask(shops, free, { member: 7, strategy, instance: 1 })).status).toBe(200);

    await holder.query('COMMIT');
    holder.release();
    expect(tally(await Promise.all(waiting))).toEqual({ ok: 1, '400 already-issued': 1 });
    for (let again = 0; again < 3; again++) {
      expect(tally([await ask(shops, held, { member: 7, strategy })])).toEqual({ '400 already-issued': 1 });
    }
    expect(await stockOf(shops, held)).toMatchObject({ remaining: 4, members: [7] });
  });

  test('requests that ended with a lock that was not granted count no longer', async () => {
    const env = { COUPON_REQUESTS_PER_MEMBER: '1', LOCK_WAIT_MS: '100' };
    const shops = await startShops({ store, env });
    const id = await newCoupon(shops);
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    for (let again = 0; again < 2; again++) {
      expect(tally([await ask(shops, id, { member: 7, strategy: 'pessimistic' })])).toEqual({
        '400 lock-timeout': 1,
      });
    }
    await holder.query('ROLLBACK');
    holder.release();
    expect((await ask(shops, id, { member: 7, strategy: 'pessimistic' })).status).toBe(200);
  });

  test('a member who waits with as many requests as he may have leaves the others their turn', async () => {
    // As set by default: five of ten connections.
    const shops = await startShops({ store, env: { LOCK_WAIT_MS: '20000' } });
    const [held, free] = [await newCoupon(shops), await newCoupon(shops)];
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${held}' FOR UPDATE`);
    const waiting = together(30, () => ask(shops, held, { member: 7, strategy: 'pessimistic' }));
    await until(async () => (await shops.waitingForLocks()) === 5);

    // While nobody lets the row go.
    expect((await ask(shops, free, { member: 8, strategy: 'pessimistic' })).status).toBe(200);

    await holder.query('COMMIT');
    holder.release();
    expect(tally(await waiting)).toEqual({ ok: 1, '400 already-issued': 4, '429 too-many-requests': 25 });
  });
});
