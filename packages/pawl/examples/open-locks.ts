import { Redis } from 'ioredis';
import { createPool } from 'mysql2';
import {
  type DistributedLockOptions,
  distributedLocks,
  type LockEvent,
  redisLockStore,
  sqlLockStore,
} from 'pawl';
import { ioredisPort, ioredisSubscriber } from 'pawl/ioredis';
import { mysql2Sessions } from 'pawl/mysql2';
import { pgSessions } from 'pawl/pg';
import pg from 'pg';

/** What a lock tells besides its outcome. */
const onEvent = ({ kind, key }: LockEvent) => console.log(`${key}: ${kind}`);

/** With Redis: one connection that asks, and one that does nothing but listen. */
async function onRedis(url: string, options: DistributedLockOptions) {
  const redis = new Redis(url, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  const listener = redis.duplicate({ autoResubscribe: false });
  for (const client of [redis, listener]) {
    client.on('error', (error) => console.error(`Redis: ${error.message}`));
    await client.connect();
  }
  const store = redisLockStore(ioredisPort(redis, { commandTimeoutMs: 2_000 }), ioredisSubscriber(listener));
  const locks = distributedLocks(store, options);
  const close = async () => {
    await locks.close();
    // Not quit(), which fails while Redis is away, and then goes on connecting.
    for (const client of [redis, listener]) client.disconnect();
  };
  return { locks, close };
}

/** Without: a pool of its own, with a connection for each key that is held or waited for. */
function onPostgres(url: string, options: DistributedLockOptions) {
  const pool = new pg.Pool({ connectionString: url, max: 20, connectionTimeoutMillis: 5_000 });
  const locks = distributedLocks(sqlLockStore(pgSessions(pool)), options);
  return { locks, close: () => locks.close().then(() => pool.end()) };
}

function onMysql(url: string, options: DistributedLockOptions) {
  const pool = createPool({ uri: url, connectionLimit: 20, connectTimeout: 5_000 });
  const sessions = mysql2Sessions(pool, { acquireTimeoutMs: 5_000, queryTimeoutMs: 5_000 });
  const locks = distributedLocks(sqlLockStore(sessions), options);
  return { locks, close: () => locks.close().then(() => pool.promise().end()) };
}

/** One for each process. */
export async function openLocks(url: string, options: DistributedLockOptions = {}) {
  const told = { onEvent, ...options };
  if (url.startsWith('redis:')) return onRedis(url, told);
  return url.startsWith('mysql:') ? onMysql(url, told) : onPostgres(url, told);
}
