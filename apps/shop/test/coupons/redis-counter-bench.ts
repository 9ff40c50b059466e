import { Redis } from 'ioredis';
import { ioredisPort } from 'pawl/ioredis';
import { expect, inject, onTestFinished } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { newDatabase, type SqlStore } from '../../../../test/stores.ts';
import { type Mended, stockReconciler } from '../../src/coupons/issue/reconcile-stock.ts';
import { type StockCounter, stockCounter } from '../../src/coupons/issue/stock-counter.ts';
import { openDatabase } from '../../src/store/database.ts';
import { type Shops, startShops } from '../harness.ts';
import { ask, newCoupon, stockOf } from './coupons.ts';

export const strategy = 'redis-counter';
/** Of a coupon of which nothing else is said. */
export const STOCK = 5;
/** Only the test reconciles. */
const NEVER_MS = '3600000';

export const throughPort = (url: string, port: number) =>
  Object.assign(new URL(url), { port: String(port) }).href;

/** A shop on a new database, unless one is given, and its counter and its reconciler behind its back. They end with the test. */
export async function openBench(
  store: SqlStore,
  options: {
    redisUrl?: string;
    databaseUrl?: string;
    env?: Record<string, string>;
    instances?: number;
  } = {},
) {
  const { redisUrl = inject('redisUrl'), instances = 1 } = options;
  const databaseUrl = options.databaseUrl ?? (await newDatabase(store));
  const env = { REDIS_URL: redisUrl, COUPON_RECONCILE_MS: NEVER_MS, ...options.env };
  const shops = await startShops({ databaseUrl, env, instances });

  const redis = new Redis(redisUrl, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 10,
    lazyConnect: true,
  });
  // Without a listener, the end of the server would be printed.
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  await redis.connect();
  const counter = stockCounter(ioredisPort(redis, { commandTimeoutMs: 5_000 }), { prefix: 'shop:' });

  const database = openDatabase({
    url: databaseUrl,
    applicationName: 'bench',
    poolSize: 2,
    lockWaitMs: 5_000,
    statementTimeoutMs: 10_000,
    longestWaitMs: 1_000,
    onIdleError: () => undefined,
  });
  onTestFinished(() => database.db.destroy());

  const troubles: unknown[] = [];
  const reconcilerOf = (reservationMs: number, over: StockCounter = counter) =>
    stockReconciler({
      ...database,
      counter: over,
      everyMs: 1,
      reservationMs,
      onMended: () => undefined,
      onTrouble: (_message, details) => troubles.push(details),
    });

  return {
    shops,
    databaseUrl,
    database,
    env,
    redis,
    counter,
    troubles,
    reconcilerOf,
    /** One round that asks the rows for every reservation older than this. */
    reconcile: (reservationMs = 0): Promise<Mended> => reconcilerOf(reservationMs).reconcileOnce(),
    /** Another instance on the same stores, but for what `env` says. */
    another: (changed: Record<string, string>, url = databaseUrl) =>
      startShops({ databaseUrl: url, env: { ...env, ...changed } }),
    newCoupon: (changes: Record<string, unknown> = {}) => newCoupon(shops, changes),
    ask: (couponId: string, member: number, instance = 0) =>
      ask(shops, couponId, { member, strategy, instance }),
    keyOf: (couponId: string, name: 'stock' | 'members' | 'reserved') => `shop:coupon:{${couponId}}:${name}`,
    /** Until the test has found a Redis again that was restarted. */
    reconnected: () => until(() => redis.status === 'ready'),
    async see(couponId: string) {
      const { stock, reserved } = await counter.read(couponId);
      return { left: stock?.remaining, used: stock?.quotaUsed, reserved };
    },
    stockOf: (couponId: string) => stockOf(shops, couponId),
    reserved: (couponId: string, count: number) =>
      until(async () => (await counter.read(couponId)).reserved === count),
  };
}

export type Bench = Awaited<ReturnType<typeof openBench>>;

/** Keeps everybody from writing the coupon's row until it is called. */
export async function holdRow(shops: Shops, couponId: string): Promise<() => Promise<void>> {
  const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${couponId}' FOR UPDATE`);
  let ended: Promise<void> | undefined;
  const letGo = () => {
    ended ??= holder.query('COMMIT').then(() => holder.release());
    return ended;
  };
  // A shop does not end before its requests have.
  onTestFinished(letGo);
  return letGo;
}

/** Nothing is oversold, nobody has two, the numbers have no gaps, and the counter says what the rows say. */
export async function expectExact(bench: Bench, couponId: string, issued: number, initial = STOCK) {
  const { remaining, serials, members } = await bench.stockOf(couponId);
  expect(remaining).toBe(initial - issued);
  expect(serials.toSorted((a, b) => a - b)).toEqual(Array.from({ length: issued }, (_, index) => index + 1));
  expect(new Set(members).size).toBe(issued);
  expect(await bench.see(couponId)).toMatchObject({ left: remaining, reserved: 0 });
}
