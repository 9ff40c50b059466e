import { describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../../test/barrier.ts';
import { newRedisServer } from '../../../../test/own-server.ts';
import { stockReconciler } from '../../src/coupons/issue/reconcile-stock.ts';
import type { StockCounter } from '../../src/coupons/issue/stock-counter.ts';
import { openDatabase } from '../../src/store/database.ts';
import { movableClock } from './movable-clock.ts';
import { type Bench, openBench } from './redis-counter-bench.ts';

const STORES = ['postgres', 'mariadb'] as const;

/** The columns of a coupon that are the same in a copy of it. */
const REST = [
  'code, download_start_date, download_end_date, available_start_date, available_end_date',
  'discount_type, cost, coupon_type, number_of_coupons, remaining, time_zone, opening_time',
].join();

/** A reservation whose owner has died. */
async function abandon(bench: Bench, couponId: string, member: number): Promise<void> {
  const request = { couponId, memberId: member, day: '2026-03-01' };
  const stock = { remaining: 5, dailyQuota: null, quotaDay: null, quotaUsed: 0 };
  await bench.counter.fill(couponId, stock);
  expect((await bench.counter.take(request)).outcome).toBe('taken');
}

describe.each(STORES)('on %s', (store) => {
  test('a shop mends its counters by itself', async () => {
    const bench = await openBench(store, {
      env: { COUPON_RECONCILE_MS: '10', COUPON_RESERVATION_MS: '100' },
    });
    const id = await bench.newCoupon();
    await abandon(bench, id, 1);
    await bench.reserved(id, 0);
    expect(await bench.see(id)).toMatchObject({ left: 5 });
    await bench.redis.hset(bench.keyOf(id, 'stock'), 'left', 0);
    await until(async () => (await bench.see(id)).left === 5);
  });

  test('more coupons, and more reservations of one, than are looked at in one go', async () => {
    const bench = await openBench(store);
    const crowded = await bench.newCoupon();
    const names = Array.from({ length: 230 }, (_, index) => `many ${index}`);
    for (const name of names) {
      const insert = `INSERT INTO coupon (id, name, ${REST}) SELECT ?, ?, ${REST} FROM coupon WHERE id = ?`;
      await bench.shops.sql(insert, [name, name, crowded]);
    }
    const last = await bench.newCoupon();
    await together(50, (index) => abandon(bench, names[index * 4] ?? '', 1));
    for (let member = 1; member <= 5; member++) await abandon(bench, last, member);
    await bench.counter.fill(crowded, { remaining: 500, dailyQuota: null, quotaDay: null, quotaUsed: 0 });
    await together(230, (index) =>
      bench.counter.take({ couponId: crowded, memberId: index + 1, day: '2026-03-01' }),
    );
    expect(await bench.reconcile(3_600_000)).toEqual({ confirmed: 0, givenBack: 0, corrected: 0 });
    // The crowded one said 500, and the rows say 5.
    expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 50 + 5 + 230, corrected: 1 });
    expect(await bench.see(crowded)).toMatchObject({ left: 5, reserved: 0 });
  });

  test('coupons are looked at until nobody can have a reservation of them any more', async () => {
    const { databaseUrl } = await movableClock(store, '2031-05-10T23:59:59.999999+00:00');
    const bench = await openBench(store, { databaseUrl });
    const [over, long] = [
      await bench.newCoupon({ downloadEndDate: '20310508' }),
      await bench.newCoupon({ downloadEndDate: '20310507' }),
    ];
    for (const id of [over, long]) await abandon(bench, id, 1);
    expect(await bench.reconcile()).toMatchObject({ givenBack: 1 });
    expect([(await bench.see(over)).reserved, (await bench.see(long)).reserved]).toEqual([0, 1]);
  });

  test('more who have one than are remembered in one go', async () => {
    const bench = await openBench(store);
    const count = 2_100;
    const id = await bench.newCoupon({ numberOfCoupons: count });
    const rows = Array.from({ length: count }, (_, index) => {
      const member = index + 1;
      return `('${id}', ${member}, ${member}, ${member}, 'test', 'test', 'test', '2026-03-01')`;
    });
    await bench.shops.sql(
      `INSERT INTO issued_coupon (coupon_id, member_id, serial, claimed_by, strategy, instance, request_id, issued_at)
       VALUES ${rows.join()}`,
    );
    await bench.shops.sql('UPDATE coupon SET remaining = 0 WHERE id = ?', [id]);
    expect((await bench.ask(id, count)).body.code).toBe('already-issued');
    expect(await bench.redis.hlen(bench.keyOf(id, 'members'))).toBe(count);
  });

  test('a counter that cannot be read does not keep the others from being mended, and somebody is told', async () => {
    const bench = await openBench(store);
    const [broken, other] = [await bench.newCoupon(), await bench.newCoupon()];
    await bench.redis.set(bench.keyOf(broken, 'stock'), 'not a hash');
    await abandon(bench, other, 1);
    expect(await bench.reconcile()).toMatchObject({ givenBack: 1 });
    expect(bench.troubles).toMatchObject([{ failures: 1, cause: { code: 'REJECTED' } }]);
    expect(await bench.see(other)).toMatchObject({ left: 5, reserved: 0 });
  });
});

test('without Redis, or without the database, a round fails, somebody is told, and the next one does its work', async () => {
  // What it has answered it has kept.
  const server = await newRedisServer({ appendfsync: 'always' });
  const bench = await openBench('postgres', { redisUrl: server.url });
  const ids = await together(3, () => bench.newCoupon());
  for (const id of ids) await abandon(bench, id, 1);
  await server.kill();
  expect(await bench.reconcile()).toEqual({ confirmed: 0, givenBack: 0, corrected: 0 });
  // It stops at the first one, and does not wait for Redis once for each.
  expect(bench.troubles).toMatchObject([{ failures: 1 }]);
  await server.start('kept');
  await bench.reconnected();

  const nowhere = openDatabase({
    url: 'postgres://nobody@127.0.0.1:1/nowhere',
    applicationName: 'bench',
    poolSize: 1,
    lockWaitMs: 1_000,
    statementTimeoutMs: 1_000,
    longestWaitMs: 1_000,
    onIdleError: () => undefined,
  });
  const troubles: unknown[] = [];
  const without = stockReconciler({
    ...nowhere,
    counter: bench.counter,
    everyMs: 1,
    reservationMs: 0,
    onMended: () => undefined,
    onTrouble: (_message, details) => troubles.push(details),
  });
  expect(await without.reconcileOnce()).toEqual({ confirmed: 0, givenBack: 0, corrected: 0 });
  expect(troubles).toHaveLength(1);
  await nowhere.db.destroy();

  expect(await bench.reconcile()).toMatchObject({ givenBack: 3 });
});

test('Redis is looked at before the rows: what was issued just before is not undone', async () => {
  const bench = await openBench('postgres');
  const id = await bench.newCoupon();
  await bench.ask(id, 1);
  let asked = false;
  const watched: StockCounter = {
    ...bench.counter,
    async read(couponId) {
      if (!asked) {
        asked = true;
        // Rows that were read by now would have 4 left, and be put over a counter that rightly says 3.
        expect((await bench.ask(id, 2)).status).toBe(200);
      }
      return bench.counter.read(couponId);
    },
  };
  expect(await bench.reconcilerOf(60_000, watched).reconcileOnce()).toMatchObject({ corrected: 0 });
  expect(asked).toBe(true);
  expect(await bench.see(id)).toMatchObject({ left: 3, reserved: 0 });
});

test('what happens between the look at Redis and the look at the rows is not undone', async () => {
  const bench = await openBench('postgres');
  const id = await bench.newCoupon();
  await bench.ask(id, 1);
  let asked = false;
  const watched: StockCounter = {
    ...bench.counter,
    async read(couponId) {
      const state = await bench.counter.read(couponId);
      if (!asked) {
        asked = true;
        expect((await bench.ask(id, 2)).status).toBe(200);
        // Were it set to the rows that are read now, this one would be counted twice.
        expect((await bench.counter.take({ couponId, memberId: 3, day: '2026-03-01' })).outcome).toBe(
          'taken',
        );
      }
      return state;
    },
  };
  expect(await bench.reconcilerOf(60_000, watched).reconcileOnce()).toMatchObject({ corrected: 0 });
  expect(await bench.see(id)).toMatchObject({ left: 2, reserved: 1 });
});

test('never two rounds at once; the end waits for the coupon that it is at, and looks at no other', async () => {
  const bench = await openBench('postgres');
  await together(3, () => bench.newCoupon());
  const [arrived, goOn] = [barrier(2), barrier(2)];
  let [rounds, reads] = [0, 0];
  const reconciler = stockReconciler({
    db: bench.database.db,
    // A round asks for it when it begins.
    get sql() {
      rounds++;
      return bench.database.sql;
    },
    counter: {
      ...bench.counter,
      async read(couponId) {
        if (++reads === 5) {
          await arrived();
          await goOn();
        }
        return bench.counter.read(couponId);
      },
    },
    everyMs: 1,
    reservationMs: 0,
    onMended: () => undefined,
    onTrouble: () => undefined,
  });
  const made = [reconciler.reconcileOnce(), reconciler.reconcileOnce(), reconciler.reconcileOnce()];
  reconciler.start();
  await arrived();
  // The second round is at its second coupon.
  expect(rounds).toBe(2);
  let closed = false;
  const closing = reconciler.close().then(() => {
    closed = true;
  });
  await bench.redis.ping();
  expect(closed).toBe(false);
  await goOn();
  await Promise.all([...made, closing]);
  expect(reads).toBe(5);
});
