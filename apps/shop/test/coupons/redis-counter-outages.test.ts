import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { newRedisServer } from '../../../../test/own-server.ts';
import { isRedisCommand, startProxy } from '../../../../test/proxy.ts';
import type { Reply } from '../harness.ts';
import { startOwnProcess } from '../own-process.ts';
import { tally } from './coupons.ts';
import {
  type Bench,
  expectExact,
  holdRow,
  openBench,
  STOCK,
  strategy,
  throughPort,
} from './redis-counter-bench.ts';

const STORES = ['postgres', 'mariadb'] as const;

/** An instance in a process of its own, which can be killed. It ends with the test. */
async function startVictim(bench: Bench, env: Record<string, string> = {}) {
  const { url, kill } = await startOwnProcess({ ...bench.env, DATABASE_URL: bench.databaseUrl, ...env });
  return {
    ask: (couponId: string, member: number) =>
      fetch(`${url}/api/coupon/${couponId}`, {
        method: 'POST',
        headers: { 'x-member-id': String(member), 'x-coupon-strategy': strategy },
      }),
    kill,
  };
}

describe.each(STORES)('on %s, a process is killed', (store) => {
  test('between the reservation and the commit: given back when it is old enough, and not before', async () => {
    const bench = await openBench(store);
    const victim = await startVictim(bench);
    const id = await bench.newCoupon({ numberOfCoupons: STOCK });
    const letGo = await holdRow(bench.shops, id);
    const dying = expect(victim.ask(id, 1)).rejects.toThrow();
    await bench.reserved(id, 1);
    await until(async () => (await bench.shops.waitingForLocks()) === 1);

    await victim.kill();

    await dying;
    await letGo();
    await until(async () => (await bench.shops.waitingForLocks()) === 0);
    expect(await bench.reconcile(60_000)).toEqual({ confirmed: 0, givenBack: 0, corrected: 0 });
    expect((await bench.ask(id, 1)).body.code).toBe('in-progress');
    expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 1, corrected: 0 });
    expect((await bench.ask(id, 1)).status).toBe(200);
    await expectExact(bench, id, 1);
  });

  test('between the commit and the confirmation: it is confirmed', async () => {
    const bench = await openBench(store);
    const proxy = await startProxy(inject('redisUrl'));
    onTestFinished(() => proxy.close());
    const victim = await startVictim(bench, { REDIS_URL: throughPort(inject('redisUrl'), proxy.port) });
    const id = await bench.newCoupon({ numberOfCoupons: STOCK });
    const letGo = await holdRow(bench.shops, id);
    const dying = expect(victim.ask(id, 1)).rejects.toThrow();
    // It has heard of its reservation.
    await until(async () => (await bench.shops.waitingForLocks()) === 1);
    proxy.fallSilent();
    await letGo();
    await until(async () => (await bench.stockOf(id)).members.length === 1);

    await victim.kill();

    await dying;
    expect(await bench.see(id)).toMatchObject({ left: STOCK - 1, reserved: 1 });
    expect(await bench.reconcile()).toEqual({ confirmed: 1, givenBack: 0, corrected: 0 });
    expect((await bench.ask(id, 1)).body.code).toBe('already-issued');
    await expectExact(bench, id, 1);
  });
});

const MEMBERS = 60;
const INITIAL = 20;

/** Asks until the answer is one that tells him: 503 and `in-progress` do not. */
async function insist(bench: Bench, couponId: string, member: number): Promise<Reply> {
  for (;;) {
    const reply = await bench.ask(couponId, member, member % 2);
    if (reply.status !== 503 && reply.body.code !== 'in-progress') return reply;
    await bench.reconcile();
  }
}

describe.each(STORES)('on %s, Redis', (store) => {
  test.each(['removed', 'kept'] as const)(
    'is killed in the middle of a race, and restarted with its data %s: exact at the end, and nothing is lost',
    async (data) => {
      const server = await newRedisServer();
      const bench = await openBench(store, { redisUrl: server.url, instances: 2 });
      const id = await bench.newCoupon({ numberOfCoupons: INITIAL });
      const letGo = await holdRow(bench.shops, id);
      const racing = together(MEMBERS, (index) => bench.ask(id, index + 1, index % 2));
      await bench.reserved(id, INITIAL);
      await until(async () => (await bench.shops.waitingForLocks()) > 0);

      await server.kill();
      await letGo();
      // Some have committed, and cannot confirm it.
      await until(async () => (await bench.stockOf(id)).members.length > 0);
      await server.start(data);
      await bench.reconnected();

      const replies = await racing;
      const { ok = 0 } = tally(replies);
      expect((await bench.stockOf(id)).members.length).toBeGreaterThanOrEqual(ok);
      const insisting = await together(MEMBERS, (index) => insist(bench, id, index + 1));
      await bench.reconcile();
      expect(insisting.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(INITIAL - ok);
      // Whoever was told `sold-out` while some were reserved may ask again, and get what came to nothing.
      for (let member = 1; member <= MEMBERS; member++) await insist(bench, id, member);
      await expectExact(bench, id, INITIAL, INITIAL);
    },
  );

  test('is restarted with an old snapshot: what it has forgotten is refused by the rows, what it has not is told', async () => {
    const server = await newRedisServer({ appendonly: 'no' });
    const bench = await openBench(store, { redisUrl: server.url });
    const id = await bench.newCoupon({ numberOfCoupons: STOCK });
    const letGo = await holdRow(bench.shops, id);
    const early = bench.ask(id, 1);
    await bench.reserved(id, 1);
    await bench.redis.save();
    await letGo();
    expect((await early).status).toBe(200);
    for (const member of [2, 3]) expect((await bench.ask(id, member)).status).toBe(200);
    await server.kill();
    await server.start('kept');
    await bench.reconnected();

    // As it was when only the first was under way.
    expect(await bench.see(id)).toMatchObject({ left: STOCK - 1, reserved: 1 });
    // The shop has to find it again.
    await until(async () => (await bench.ask(id, 2)).body.code === 'already-issued');
    expect(await bench.reconcile()).toEqual({ confirmed: 1, givenBack: 0, corrected: 1 });
    await expectExact(bench, id, 3);
    const replies = await together(10, (index) => bench.ask(id, 10 + index));
    expect(tally(replies)).toEqual({ ok: 2, '400 sold-out': 8 });
    await expectExact(bench, id, STOCK);
  });

  test('is flushed: filled from the rows once, and whoever has one is refused without the row', async () => {
    const server = await newRedisServer();
    const bench = await openBench(store, { redisUrl: server.url });
    const id = await bench.newCoupon({ numberOfCoupons: STOCK, dailyQuota: 4 });
    for (const member of [1, 2, 3]) await bench.ask(id, member);
    const before = await bench.see(id);
    await bench.redis.flushall();
    const letGo = await holdRow(bench.shops, id);
    expect((await bench.ask(id, 3)).body.code).toBe('already-issued');
    expect(await bench.see(id)).toEqual(before);
    await letGo();
    const replies = await together(10, (index) => bench.ask(id, 10 + index));
    expect(tally(replies)).toEqual({ ok: 1, '400 quota-reached': 9 });
    await expectExact(bench, id, 4);
  });

  test('is down: nobody gets one, and it goes on when it is back', async () => {
    const server = await newRedisServer();
    const bench = await openBench(store, { redisUrl: server.url });
    const id = await bench.newCoupon({ numberOfCoupons: STOCK });
    await bench.ask(id, 1);
    await server.kill();
    for (const member of [1, 2]) {
      expect((await bench.ask(id, member)).body).toMatchObject({ status: 503, code: 'store-unavailable' });
    }
    expect((await bench.stockOf(id)).members).toEqual([1]);
    await server.start('kept');
    await bench.reconnected();
    await until(async () => (await bench.ask(id, 2)).status === 200);
    await bench.reconcile();
    await expectExact(bench, id, 2);
  });

  test('loses the counter as soon as it is filled: refused, and not asked for ever', async () => {
    const bench = await openBench(store);
    const id = await bench.newCoupon();
    let fills = 0;
    const proxy = await startProxy(
      inject('redisUrl'),
      (script) => {
        // take, fill, take, fill, …: no counter is ever there.
        if (script % 2 === 1) return 'passes';
        fills++;
        return Buffer.from(':1\r\n');
      },
      isRedisCommand('EVAL'),
    );
    onTestFinished(() => proxy.close());
    const behind = await bench.another({ REDIS_URL: throughPort(inject('redisUrl'), proxy.port) });
    const reply = await behind.call('POST', `/api/coupon/${id}`, undefined, {
      'x-coupon-strategy': strategy,
    });
    expect(reply.body).toMatchObject({ status: 503, code: 'store-unavailable' });
    expect(fills).toBe(3);
    expect((await bench.stockOf(id)).members).toEqual([]);
  });
});
