import { createHash, randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { createPool } from 'mysql2';
import {
  type IdempotencyStore,
  idempotencyKeys,
  migrate,
  redisIdempotencyStore,
  type SqlPort,
  sqlIdempotencyStore,
} from 'pawl';
import { ioredisPort } from 'pawl/ioredis';
import { mysql2Port } from 'pawl/mysql2';
import { pgPort } from 'pawl/pg';
import pg from 'pg';
import type { ServerUrls } from '../../servers.ts';
import type { BenchRoute, Serve } from './frameworks/framework.ts';
import type { ServeOrder, Serving } from './service-messages.ts';
import { type FrameworkName, kinds, pathOf, type StoreName, storeNames } from './subjects.ts';

/** A service of one framework, with its routes on every store. */

// The bench has gone.
process.once('disconnect', () => process.exit());

const CONNECTIONS = 32;

/** What every route answers, as bytes that a store is given by hand, and as what a framework makes them of. */
const ANSWER = { paid: true, orderId: 'order-7', amount: 5_000 };
const ANSWER_BYTES = Buffer.from(JSON.stringify(ANSWER));
const FINGERPRINT = createHash('sha256').update(ANSWER_BYTES).digest('hex');

const LEASE_MS = 10_000;
const RETENTION_MS = 86_400_000;

const load: Readonly<Record<FrameworkName, () => Promise<{ serve: Serve }>>> = {
  fastify: () => import('./frameworks/fastify.ts'),
  express: () => import('./frameworks/express.ts'),
  hono: () => import('./frameworks/hono.ts'),
  nestjs: () => import('./frameworks/nestjs.ts'),
};

async function openStores(urls: ServerUrls): Promise<Readonly<Record<StoreName, IdempotencyStore>>> {
  const redis = new Redis(urls.redis, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  const postgres = new pg.Pool({ connectionString: urls.postgres, max: CONNECTIONS, query_timeout: 22_000 });
  postgres.on('error', () => undefined); // What failed is told by the statement.
  const mariadb = createPool({ uri: urls.mariadb, connectionLimit: CONNECTIONS });
  return {
    redis: redisIdempotencyStore(ioredisPort(redis, { commandTimeoutMs: 2_000 })),
    postgres: await migrated(pgPort(postgres)),
    mariadb: await migrated(mysql2Port(mariadb, { acquireTimeoutMs: 5_000, queryTimeoutMs: 22_000 })),
  };
}

async function migrated(sql: SqlPort): Promise<IdempotencyStore> {
  await migrate(sql);
  return sqlIdempotencyStore(sql);
}

function routesOn(name: StoreName, store: IdempotencyStore): BenchRoute[] {
  const answer = async () => ANSWER;
  /** What the middleware must at least ask of the store. */
  const byHand = async (key: string) => {
    const id = { scope: '["bench"]', key };
    const owner = randomUUID();
    const times = { leaseMs: LEASE_MS, retentionMs: RETENTION_MS };
    await store.claim({ ...id, mode: 'leased', fingerprint: FINGERPRINT, owner, ...times });
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    await store.complete(id, owner, { status: 200, headers, body: ANSWER_BYTES }, RETENTION_MS);
    return ANSWER;
  };
  return kinds.map((kind) => ({
    path: pathOf(name, kind),
    keys: kind === 'guarded' ? idempotencyKeys(store) : undefined,
    work: kind === 'store' ? byHand : answer,
  }));
}

process.once('message', async ({ framework, urls }: ServeOrder) => {
  const stores = await openStores(urls);
  const { serve } = await load[framework]();
  const port = await serve(storeNames.flatMap((name) => routesOn(name, stores[name])));
  process.send?.({ port } satisfies Serving);
});
