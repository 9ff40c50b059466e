import {
  type DistributedLockOptions,
  type DistributedLocks,
  distributedLocks,
  type LockEvent,
  type RedisPort,
  type RedisSubscriber,
  redisLockStore,
  sqlLockStore,
} from 'pawl';
import type { LockSessions } from './store/driver.ts';

/** The locks of this instance that hold over all instances. */
export interface ShopLocks {
  readonly purchases: DistributedLocks;
  /** In Redis; undefined where there is none. */
  readonly coupons: DistributedLocks | undefined;
  /** Refuses everybody who waits, and from now on everybody who comes. Resolves when nobody holds a lock any more. */
  close(): Promise<void>;
}

export interface ShopLockOptions {
  readonly redis: { readonly port: RedisPort; readonly subscriber: RedisSubscriber } | undefined;
  /** In front of every key in Redis. */
  readonly prefix: string;
  /** Where the locks of purchases are kept. Without Redis they are in the database, whatever this says. */
  readonly purchasesIn: 'redis' | 'database';
  openSessions(): LockSessions;
  readonly times: Pick<DistributedLockOptions, 'leaseMs' | 'waitMs' | 'renewForMs'>;
  onEvent(message: string, details: Readonly<Record<string, unknown>>): void;
}

const EVENTS: Readonly<Record<LockEvent['kind'], string>> = {
  'renewal-failed': 'a lock could not be renewed',
  'lease-lost': 'a lock may be somebody else’s while the work that it is for still runs',
  'not-released': 'a lock could not be given back, and ends with its lease',
};

export function openLocks({ redis, prefix, purchasesIn, ...options }: ShopLockOptions): ShopLocks {
  const settings: DistributedLockOptions = {
    ...options.times,
    onEvent: ({ kind, key, cause }) => options.onEvent(EVENTS[kind], { lock: key, cause }),
  };
  const inRedis =
    redis &&
    distributedLocks(
      redisLockStore(redis.port, redis.subscriber, { prefix: `${prefix}distributed-lock:` }),
      settings,
    );
  if (inRedis !== undefined && purchasesIn === 'redis') {
    return { purchases: inRedis, coupons: inRedis, close: () => inRedis.close() };
  }
  const { sessions, end } = options.openSessions();
  const inDatabase = distributedLocks(sqlLockStore(sessions, { namespace: 'shop' }), settings);
  return {
    purchases: inDatabase,
    coupons: inRedis,
    async close() {
      await Promise.all([inRedis?.close(), inDatabase.close()]);
      await end();
    },
  };
}
