import type { DatabaseName } from '../operations/contenders/database.ts';
import { generator, type OperationSpec } from '../operations/operation.ts';

/** One row of the group. */
export interface CouponSpec extends OperationSpec {
  /** Where it counts. Null: nowhere. */
  readonly books: DatabaseName | 'redis' | null;
  /** Whether it decides, and tells every caller what his request came to; a limit does neither. */
  readonly tells: boolean;
  /** Which callers it is measured with. */
  readonly callers: readonly number[];
  /** Whether a short run measures it too: what a ratio needs. */
  readonly quick: boolean;
}

export const FEW = 1;
export const MANY = 64;
export const CROWD = 512;

export const REDIS_COUNTER = 'redis counter';
export const forUpdateRow = (database: DatabaseName) => `${database} FOR UPDATE`;
export const pawlRow = (database: DatabaseName) => `pawl ${database}`;

const POOL = 'pool of 16, statements prepared';

const ofDatabase = (books: DatabaseName): readonly CouponSpec[] => [
  {
    ...{ row: `${books} bare UPDATE`, own: false, books, tells: false, callers: [MANY], quick: false },
    settings: `limit: the hot row, a commit for each caller; decides nothing; ${POOL}`,
    load: async () => (await import('./contenders/limits.ts')).bareUpdate(books),
  },
  {
    ...{ row: `${books} bare INSERT`, own: false, books, tells: false, callers: [MANY, FEW], quick: false },
    settings: `limit: no hot row, a commit for each caller; decides nothing; ${POOL}`,
    load: async () => (await import('./contenders/limits.ts')).bareInsert(books),
  },
  {
    ...{ row: forUpdateRow(books), own: false, books, tells: true, callers: [MANY, FEW], quick: true },
    settings: `by hand: lock, look, update, insert, commit; ${POOL}`,
    load: async () => (await import('./contenders/for-update.ts')).forUpdate(books),
  },
  {
    ...{ row: `${books} insert + update`, own: false, books, tells: true, callers: [MANY], quick: false },
    settings: `by hand: insert, conditional update, commit; no serial; ${POOL}`,
    load: async () => (await import('./contenders/insert-and-update.ts')).insertAndUpdate(books),
  },
  {
    ...{ row: `${books} optimistic`, own: false, books, tells: true, callers: [MANY], quick: false },
    settings: `by hand: read, compare and set, insert, commit; again after 0 to 10 ms, doubling up to 320; ${POOL}`,
    load: async () => (await import('./contenders/optimistic.ts')).optimistic(books),
  },
  {
    ...{ row: `${books} redis lock`, own: false, books, tells: true, callers: [MANY], quick: false },
    settings: `SET NX PX every 5 ms around a transaction that locks nothing; ${POOL}`,
    load: async () => (await import('./contenders/redis-lock.ts')).redisLock(books),
  },
  {
    ...{ row: pawlRow(books), own: true, books, tells: true, callers: [MANY, CROWD, FEW], quick: true },
    settings: 'stock, defaults; pool of 5, several statements a message',
    load: async () => (await import('./contenders/pawl-stock.ts')).pawlStock(books),
  },
];

/** All rows, the limits first. */
export const contenders: readonly CouponSpec[] = [
  {
    ...generator,
    ...{ books: null, tells: false, callers: [MANY, CROWD], quick: true },
  },
  {
    ...{ row: REDIS_COUNTER, own: false, books: 'redis', tells: true, callers: [MANY, CROWD], quick: true },
    settings: 'limit: a script that counts, over ioredis; nothing is in a database',
    load: async () => (await import('./contenders/redis-counter.ts')).openRedisCounter,
  },
  ...ofDatabase('postgres'),
  {
    ...({ row: 'postgres one statement', own: false, books: 'postgres', tells: true } as const),
    ...{ callers: [MANY], quick: false },
    settings: `by hand: both in one statement, which commits by itself; ${POOL}`,
    load: async () => (await import('./contenders/one-statement.ts')).openOneStatement,
  },
  ...ofDatabase('mariadb'),
];

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): CouponSpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
