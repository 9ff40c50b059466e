import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { withDatabase } from '../packages/race-lab/src/cluster/database-session.ts';

/** The SQL stores of a run: MariaDB with `innodb_snapshot_isolation` off, and with it on. */
export const sqlStores = ['postgres', 'mariadb', 'mariadb-snapshot'] as const;

export type SqlStore = (typeof sqlStores)[number];

const LIMIT_MS = 10_000;

/** A database of its own on the run's server. It ends with the run. */
export async function newDatabase(store: SqlStore = 'postgres'): Promise<string> {
  const url = serverUrl(store);
  const name = `test_${randomBytes(6).toString('hex')}`;
  await withDatabase(url, LIMIT_MS, (query) => query(`CREATE DATABASE ${name}`));
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

function serverUrl(store: SqlStore): string {
  switch (store) {
    case 'postgres':
      return inject('postgresUrl');
    case 'mariadb':
      return inject('mariadbUrl');
    case 'mariadb-snapshot':
      return inject('mariadbSnapshotUrl');
  }
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
