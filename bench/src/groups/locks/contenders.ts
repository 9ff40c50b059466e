import type { RowTitle } from '../../report/report.ts';
import type { OpenContender } from './contender.ts';

/** One row of the group. */
export interface ContenderSpec extends RowTitle {
  /** Among whom it excludes: those of one process, or all. */
  readonly reach: 'process' | 'processes';
  /** Whether it waits for its turn; if not, it can only be measured where nobody else wants the key. */
  readonly waits: boolean;
  /** Loads its client, in the process that is to use it and in no other. */
  load(): Promise<OpenContender>;
}

/** How often the peers try when they are tuned: for about a minute. */
const POLL_MS = 5;
const POLLS = 12_000;

const own = { own: true, reach: 'processes', waits: true } as const;
const peer = { own: false, reach: 'processes', waits: true } as const;

export const PROMISE_MUTEX = 'mutex';
export const BARE_REDIS = 'bare SET NX';
export const PAWL_REDIS = 'pawl redis';

/** All rows, the limits first. */
export const contenders: readonly ContenderSpec[] = [
  {
    ...{ row: PROMISE_MUTEX, own: false, reach: 'process', waits: true },
    settings: 'a chain of promises for each key, in one process',
    load: async () => (await import('./contenders/promise-mutex.ts')).openPromiseMutex,
  },
  {
    ...{ row: BARE_REDIS, own: false, reach: 'processes', waits: false },
    settings: 'SET NX PX, and a script that compares and deletes, over ioredis',
    load: async () => (await import('./contenders/bare-redis.ts')).openBareRedis,
  },
  {
    ...{ ...own, row: 'pawl memory', reach: 'process' },
    settings: 'defaults, in one process',
    load: async () => (await import('./contenders/pawl-memory.ts')).openPawlMemory,
  },
  {
    ...{ ...own, row: PAWL_REDIS },
    settings: 'defaults, over ioredis',
    load: async () => (await import('./contenders/pawl-redis.ts')).openPawlRedis,
  },
  {
    ...{ ...own, row: 'pawl postgres' },
    settings: 'defaults, over pg',
    load: async () => (await import('./contenders/pawl-postgres.ts')).openPawlPostgres,
  },
  {
    ...{ ...own, row: 'pawl mariadb' },
    settings: 'defaults, over mysql2',
    load: async () => (await import('./contenders/pawl-mariadb.ts')).openPawlMariadb,
  },
  {
    ...{ ...peer, row: 'redlock' },
    settings: '5.0.0-beta.2, defaults: 10 retries after 200 ± 100 ms',
    load: async () => (await import('./contenders/redlock.ts')).redlock(),
  },
  {
    ...{ ...peer, row: 'redlock tuned' },
    settings: `5.0.0-beta.2, ${POLLS} retries after ${POLL_MS} ± 2 ms`,
    load: async () =>
      (await import('./contenders/redlock.ts')).redlock({
        retryCount: POLLS,
        retryDelay: POLL_MS,
        retryJitter: 2,
      }),
  },
  {
    ...{ ...peer, row: 'redis-semaphore' },
    settings: '5.8.0, defaults: tries every 10 ms for 10 s',
    load: async () => (await import('./contenders/redis-semaphore.ts')).redisSemaphore(),
  },
  {
    ...{ ...peer, row: 'redis-semaphore tuned' },
    settings: `5.8.0, tries every ${POLL_MS} ms for ${(POLLS * POLL_MS) / 1_000} s`,
    load: async () =>
      (await import('./contenders/redis-semaphore.ts')).redisSemaphore({
        retryInterval: POLL_MS,
        acquireTimeout: POLLS * POLL_MS,
      }),
  },
  {
    ...{ ...peer, row: 'redlock-universal' },
    settings: '0.8.5, defaults: 3 retries after 100 ms',
    load: async () => (await import('./contenders/redlock-universal.ts')).redlockUniversal(),
  },
  {
    ...{ ...peer, row: 'redlock-universal tuned' },
    settings: `0.8.5, its lean mode, ${POLLS} retries after ${POLL_MS} ms`,
    load: async () =>
      (await import('./contenders/redlock-universal.ts')).redlockUniversal({
        retryAttempts: POLLS,
        retryDelay: POLL_MS,
        performance: 'lean',
      }),
  },
];

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): ContenderSpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
