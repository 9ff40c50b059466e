import { Redis } from 'ioredis';
import { migrate, pawlTables } from 'pawl';
import { withDatabase } from '../../../../../packages/race-lab/src/cluster/database-session.ts';
import type { ServerUrls } from '../../../servers.ts';
import type { DatabaseName } from '../../operations/contenders/database.ts';
import { openPort } from '../../operations/contenders/group-port.ts';

/** Where a row stores its records. Null: nowhere. */
export type Where = DatabaseName | 'redis' | null;

/** All that the rows have stored. */
export interface Records {
  /** Nothing is stored there any more. */
  clear(where: Where): Promise<void>;
  close(): Promise<void>;
}

const LIMIT_MS = 60_000;

/** Makes the tables. What is in Redis is that database's alone which the URL names, and all of it goes. */
export async function openRecords(urls: ServerUrls): Promise<Records> {
  for (const database of ['postgres', 'mariadb'] as const) {
    const { sql, close } = openPort(database, urls);
    try {
      await migrate(sql);
    } finally {
      await close();
    }
    await withDatabase(urls[database], LIMIT_MS, async (query) => {
      await query('DROP TABLE IF EXISTS bench_result');
      await query('CREATE TABLE bench_result (id varchar(255) PRIMARY KEY, result text)');
    });
  }
  const redis = new Redis(urls.redis, { lazyConnect: true });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  const { idempotencyKey } = pawlTables();
  return {
    async clear(where) {
      if (where === null) return;
      if (where === 'redis') {
        await redis.flushdb();
        return;
      }
      await withDatabase(urls[where], LIMIT_MS, async (query) => {
        await query('TRUNCATE TABLE bench_result');
        await query(`TRUNCATE TABLE ${idempotencyKey}`);
      });
    },
    close: async () => void (await redis.quit()),
  };
}
