import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { withDatabase } from '../packages/race-lab/src/cluster/database-session.ts';

/** The SQL stores of a run: MariaDB with `innodb_snapshot_isolation` off, and with it on. */
export const sqlStores = ['postgres', 'mariadb', 'mariadb-snapshot'] as const;

export type SqlStore = (typeof sqlStores)[number];

/** `PAWL_THOROUGH=1`: everything in its long form. */
export const thorough = process.env.PAWL_THOROUGH === '1';

/** For what asks nothing of REPEATABLE READ, where alone the settings of MariaDB differ. */
export const twoStores: readonly SqlStore[] = thorough ? sqlStores : ['postgres', 'mariadb'];

const LIMIT_MS = 10_000;

/** A database of its own on the run's server. It ends with the run. */
export async function newDatabase(store: SqlStore = 'postgres', create = ''): Promise<string> {
  const url = serverUrl(store);
  const name = `test_${randomBytes(6).toString('hex')}`;
  await withDatabase(url, LIMIT_MS, (query) => query(`CREATE DATABASE ${name} ${create}`));
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** A copy of a database of PostgreSQL that nobody is connected to. */
export function copiedDatabase(url: string): Promise<string> {
  return newDatabase('postgres', `TEMPLATE ${new URL(url).pathname.slice(1)}`);
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
