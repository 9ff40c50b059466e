import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import pg from 'pg';
import { inject } from 'vitest';

/** A database of its own on the run's PostgreSQL. It ends with the run. */
export async function newDatabase(): Promise<string> {
  const url = inject('postgresUrl');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** A client of the run's Redis that never resends, and a prefix that nobody else uses. */
export function newRedis(): { redis: Redis; prefix: string } {
  const redis = new Redis(inject('redisUrl'), {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  return { redis, prefix: `test-${randomBytes(6).toString('hex')}:` };
}
