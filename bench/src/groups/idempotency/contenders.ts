import type { DatabaseName } from '../operations/contenders/database.ts';
import { generator, type OperationSpec } from '../operations/operation.ts';
import type { Where } from './contenders/records.ts';

export type Kind = 'fresh' | 'replay';

/** One row of the group. */
export interface IdempotencySpec extends OperationSpec {
  readonly kinds: readonly Kind[];
  readonly where: Where;
  /** Whether it guards, which is tried; a limit need not. */
  readonly guards: boolean;
  /** Whether a short run measures it too: what a ratio needs. */
  readonly quick: boolean;
}

export const BARE_SET = 'bare SET NX + SET';
export const BARE_GET = 'bare GET';
export const NODE_IDEMPOTENCY = 'node-idempotency';
export const PAWL_REDIS = 'pawl redis';
export const byHandRow = (database: DatabaseName) => `${database} by hand`;
export const groupedRow = (database: DatabaseName) => `pawl ${database} grouped`;

const BOTH: readonly Kind[] = ['fresh', 'replay'];

const ofDatabase = (database: DatabaseName): readonly IdempotencySpec[] => [
  {
    ...{ row: byHandRow(database), own: false, kinds: BOTH, where: database, guards: true, quick: true },
    settings:
      'INSERT and UPDATE, a commit of each for each caller; no lease; pool of 16, statements prepared',
    load: async () => (await import('./contenders/sql-by-hand.ts')).sqlByHand(database),
  },
  {
    ...{ row: `pawl ${database}`, own: true, kinds: BOTH, where: database, guards: true, quick: false },
    settings: 'leased keys, defaults; sqlIdempotencyStore, pool of 16',
    load: async () => (await import('./contenders/pawl-keys.ts')).pawlSql(database),
  },
  {
    ...{ row: groupedRow(database), own: true, kinds: BOTH, where: database, guards: true, quick: true },
    settings: 'leased keys, defaults; groupedIdempotencyStore, pool of 5, several statements a message',
    load: async () => (await import('./contenders/pawl-keys.ts')).pawlGrouped(database),
  },
];

/** All rows, the limits first. */
export const contenders: readonly IdempotencySpec[] = [
  { ...generator, ...{ kinds: BOTH, where: null, guards: false, quick: false } },
  {
    ...{ row: BARE_SET, own: false, kinds: ['fresh'], where: 'redis', guards: true, quick: true },
    settings: 'limit: over ioredis; no lease, owner or fingerprint',
    load: async () => (await import('./contenders/bare-ioredis.ts')).openBareSet,
  },
  {
    ...{ row: BARE_GET, own: false, kinds: ['replay'], where: 'redis', guards: false, quick: true },
    settings: 'limit: over ioredis; guards nothing',
    load: async () => (await import('./contenders/bare-ioredis.ts')).openBareGet,
  },
  {
    ...{ row: 'bare node-redis', own: false, kinds: BOTH, where: 'redis', guards: true, quick: false },
    settings: 'limit: SET NX + SET over @redis/client 6.3.1',
    load: async () => (await import('./contenders/bare-node-redis.ts')).openBareNodeRedis,
  },
  {
    ...{ row: 'Powertools', own: false, kinds: BOTH, where: 'redis', guards: true, quick: false },
    settings: '@aws-lambda-powertools/idempotency 2.35.0 outside Lambda, over @redis/client 6.3.1; defaults',
    load: async () => (await import('./contenders/powertools.ts')).openPowertools,
  },
  {
    ...{ row: NODE_IDEMPOTENCY, own: false, kinds: BOTH, where: 'redis', guards: true, quick: true },
    settings: '@node-idempotency/core 1.0.11 with storage-adapter-redis 1.0.2; defaults',
    load: async () => (await import('./contenders/node-idempotency.ts')).openNodeIdempotency,
  },
  {
    ...{ row: 'express-idempotency', own: false, kinds: BOTH, where: 'redis', guards: true, quick: false },
    settings: '1.0.6 with redis-adapter 1.0.8; its middleware without HTTP, which answers before it stores',
    load: async () => (await import('./contenders/express-idempotency.ts')).openExpressIdempotency,
  },
  {
    ...{ row: PAWL_REDIS, own: true, kinds: BOTH, where: 'redis', guards: true, quick: true },
    settings: 'leased keys, defaults; redisIdempotencyStore over ioredis',
    load: async () => (await import('./contenders/pawl-keys.ts')).openPawlRedis,
  },
  ...ofDatabase('postgres'),
  ...ofDatabase('mariadb'),
];

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): IdempotencySpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
