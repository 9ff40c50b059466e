/**
 * What every adapter and every store of the library must hold, for whoever writes one: each guard raced by 50 over two
 * processes, interleavings forced, connections cut, processes stopped and killed. It needs no test framework:
 *
 *     // my-adapter.ports.ts, a module that every racing process imports
 *     export const open: OpenSqlPort = ({ host, port, user, password, database, connections }) => ({ sql, close });
 *
 *     // my-adapter.test.ts
 *     const module = new URL('./my-adapter.ports.ts', import.meta.url);
 *     for (const { name, run } of sqlConformance({ module, url: 'mysql://…' })) test(name, run);
 *
 * Every case uses tables, or keys, of its own, and removes them; a store of one's own is told a namespace for each, and
 * removes it when it is closed, or forgets it. The racing processes are kept for a second, for the next case. Run the cases one after another, in a database that nobody
 * else uses meanwhile: sessions that wait for locks are counted in all of it.
 */

import type { ConformanceCase } from './case.ts';
import { conditionalUpdateCases } from './conditional-update.ts';
import { distributedLockCases } from './distributed-lock.ts';
import { idempotencyStoreCases } from './idempotency-store.ts';
import { leasedKeyCases } from './leased-key.ts';
import { leasedKeyInTransactionCases } from './leased-key-in-transaction.ts';
import { onLockStore, onRedisLocks, onSqlLocks } from './lock-bench.ts';
import { optimisticLockCases } from './optimistic-lock.ts';
import { pessimisticLockCases } from './pessimistic-lock.ts';
import type { OnRecordsBench } from './records-bench.ts';
import { onRedisBench } from './redis-bench.ts';
import { redisPortCases } from './redis-port.ts';
import { onSqlBench } from './sql-bench.ts';
import { sqlPortCases } from './sql-port.ts';
import { onStoreBench } from './store-bench.ts';
import { transactionalKeyCases } from './transactional-key.ts';
import { uniqueClaimCases } from './unique-claim.ts';

export type { ConformanceCase } from './case.ts';
export type {
  OpenedIdempotencyStore,
  OpenedLockStore,
  OpenedRedisPort,
  OpenedSqlPort,
  OpenIdempotencyStore,
  OpenLockStore,
  OpenRedisPort,
  OpenSqlPort,
  ServerAddress,
  SqlConnection,
  StoreNamespace,
} from './open.ts';

interface Subject {
  /** The module that exports `open`. Every process imports it, so it must not be a test file. */
  readonly module: URL;
  /** Node's own options for the racing processes: loaders and the like. Default: those of this process. */
  readonly execArgv?: readonly string[];
}

interface Trials {
  /** How often 50 identical keys are raced, with handlers of 0 and of 50 ms each. Default 10. */
  readonly trials?: number;
}

export interface LockConformanceOptions extends Subject {
  /** The server, and the database in it, as whom to come: `postgres://user:password@host:port/database`. Without TLS. */
  readonly url: string;
}

export interface ConformanceOptions extends LockConformanceOptions, Trials {}

export interface LockStoreConformanceOptions extends Subject {
  /** Given to `open`. */
  readonly url?: string;
  /** 1 for a store that lives in one process. Default 2. */
  readonly processes?: 1 | 2;
}

export interface IdempotencyStoreConformanceOptions extends LockStoreConformanceOptions, Trials {}

const TRIALS = 10;

/**
 * For an adapter of a SQL driver: the port itself, the guards on it, and idempotency keys in both modes.
 *
 * The user must be allowed to create tables, to kill his own sessions, and to see who waits (on MySQL and MariaDB the right
 * PROCESS). The server must grant 60 connections.
 */
export function sqlConformance({
  module: { href: module },
  url,
  trials = TRIALS,
  execArgv,
}: ConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, execArgv };
  const onBench: OnRecordsBench = (work) => onSqlBench(subject, work, { records: true });
  return [
    ...sqlPortCases(subject),
    ...conditionalUpdateCases(subject),
    ...uniqueClaimCases(subject),
    ...optimisticLockCases(subject),
    ...pessimisticLockCases(subject),
    ...idempotencyStoreCases(onBench),
    ...leasedKeyCases(onBench, { processes: 2, trials }),
    ...leasedKeyInTransactionCases(subject),
    ...transactionalKeyCases(subject),
  ];
}

/** For an adapter of a Redis client: the port itself, and leased idempotency keys on it. */
export function redisConformance({
  module: { href: module },
  url,
  trials = TRIALS,
  execArgv,
}: ConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, execArgv };
  const onBench: OnRecordsBench = (work) => onRedisBench(subject, work);
  return [
    ...redisPortCases(subject),
    ...idempotencyStoreCases(onBench),
    ...leasedKeyCases(onBench, { processes: 2, trials }),
  ];
}

/** For an `IdempotencyStore` of one's own: the store itself, and leased idempotency keys on it. */
export function idempotencyStoreConformance({
  module: { href: module },
  url,
  trials = TRIALS,
  processes = 2,
  execArgv,
}: IdempotencyStoreConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, processes, execArgv };
  const onBench: OnRecordsBench = (work) => onStoreBench(subject, work);
  return [...idempotencyStoreCases(onBench), ...leasedKeyCases(onBench, { processes, trials })];
}

/**
 * For an adapter of a SQL driver that opens `sessions`: distributed locks on them.
 *
 * The user must be allowed to see who waits (on MySQL and MariaDB the right PROCESS). The server must grant 70 connections.
 */
export function sqlLockConformance({
  module: { href: module },
  url,
  execArgv,
}: LockConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, execArgv };
  return distributedLockCases((work) => onSqlLocks(subject, work), { processes: 2, server: true });
}

/** For an adapter of a Redis client that opens a `subscriber`: distributed locks on it. */
export function redisLockConformance({
  module: { href: module },
  url,
  execArgv,
}: LockConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, execArgv };
  return distributedLockCases((work) => onRedisLocks(subject, work), { processes: 2, server: true });
}

/** For a `LockStore` of one's own: distributed locks on it. */
export function lockStoreConformance({
  module: { href: module },
  url,
  processes = 2,
  execArgv,
}: LockStoreConformanceOptions): readonly ConformanceCase[] {
  const subject = { module, url, processes, execArgv };
  return distributedLockCases((work) => onLockStore(subject, work), { processes, server: false });
}
