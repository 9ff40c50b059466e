import type { StrictServer } from '@pawl/service-kit';
import type { DistributedLocks } from 'pawl';
import type { Settings } from './config.ts';
import type { Connections } from './connections.ts';
import { type Issues, issues } from './coupons/issue/issue.ts';
import { publishedLocks } from './coupons/issue/published-locks.ts';
import { stockReconciler } from './coupons/issue/reconcile-stock.ts';
import { type StockCounter, stockCounter } from './coupons/issue/stock-counter.ts';

/** How an instance hands out coupons. */
export interface CouponIssues {
  readonly issue: Issues;
  /** Undefined where there is no Redis. */
  readonly counter: StockCounter | undefined;
  /** Begins to bring the counters to their rows, where any may be in use. */
  start(): void;
  /** Refuses who waits for a lock, so that nobody is waited for who waits. */
  refuseWaiting(): void;
  close(): Promise<unknown>;
}

export interface CouponIssuesOptions {
  readonly settings: Settings;
  readonly connections: Connections;
  /** Undefined where there is no Redis. */
  readonly locks: DistributedLocks | undefined;
  /** In front of every key in Redis. */
  readonly redisPrefix: string;
  readonly log: StrictServer['log'];
}

export function openCouponIssues(options: CouponIssuesOptions): CouponIssues {
  const { settings, locks, redisPrefix: prefix, log } = options;
  const { db, sql, groups, redis } = options.connections;
  const onTrouble = (message: string, details: Readonly<Record<string, unknown>>) =>
    log.error(details, message);
  const inRedis = redis &&
    locks && {
      locks,
      publishedLocks: publishedLocks(redis.port, redis.listener, {
        prefix,
        spin: { leaseMs: settings.COUPON_SPIN_LEASE_MS, pauseMs: settings.COUPON_SPIN_PAUSE_MS },
        waiting: {
          leaseMs: settings.COUPON_REDIS_LOCK_LEASE_MS,
          waitMs: settings.COUPON_REDIS_LOCK_WAIT_MS,
        },
        onTrouble,
      }),
      counter: stockCounter(redis.port, { prefix }),
    };
  const reconciler =
    inRedis &&
    stockReconciler({
      db,
      sql,
      counter: inRedis.counter,
      everyMs: settings.COUPON_RECONCILE_MS,
      reservationMs: settings.COUPON_RESERVATION_MS,
      onMended: (mended) => log.warn(mended, 'the counters of coupons were brought to their rows'),
      onTrouble,
    });
  const issue = issues({
    db,
    sql,
    groups,
    redis: inRedis,
    serverName: settings.SERVER_NAME,
    settings: {
      lockWaitMs: settings.LOCK_WAIT_MS,
      together: settings.GROUP_COMMIT,
      retryAttempts: settings.COUPON_RETRY_ATTEMPTS,
      retryPauseMs: settings.COUPON_RETRY_PAUSE_MS,
    },
    onTrouble,
  });
  return {
    issue,
    counter: inRedis?.counter,
    start() {
      // In lab mode a request may choose the strategy that has counters.
      if (settings.LAB_MODE || settings.COUPON_STRATEGY === 'redis-counter') reconciler?.start();
    },
    refuseWaiting: () => inRedis?.publishedLocks.close(),
    close: async () => reconciler?.close(),
  };
}
