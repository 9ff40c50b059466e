import { Redis } from 'ioredis';
import {
  done,
  groupedIdempotencyStore,
  type IdempotencyStore,
  idempotencyKeys,
  redisIdempotencyStore,
  sqlIdempotencyStore,
} from 'pawl';
import { ioredisPort } from 'pawl/ioredis';
import type { DatabaseName } from '../../operations/contenders/database.ts';
import { openGroupPort, openPort } from '../../operations/contenders/group-port.ts';
import type { OpenOperation, Operation } from '../../operations/operation.ts';
import { payloadOf } from '../result.ts';
import { guarded } from './guarded.ts';

const SCOPE = ['member-1', 'POST /payments'];

function pawlKeys(store: IdempotencyStore, close: () => Promise<void>): Operation {
  const keys = idempotencyKeys(store);
  return guarded({
    async run(key, work) {
      const request = { scope: SCOPE, key, payload: payloadOf(key) };
      const outcome = await keys.run(request, async () =>
        done({ status: 200, headers: {}, body: Buffer.from(await work()) }),
      );
      if (outcome.outcome === 'done') return Buffer.from(outcome.value.body).toString();
      if (outcome.outcome === 'refused' && outcome.reason === 'in-progress') return undefined;
      throw new Error(outcome.outcome === 'refused' ? outcome.reason : outcome.outcome);
    },
    close,
  });
}

export const openPawlRedis: OpenOperation = async ({ redis: url }) => {
  const redis = new Redis(url, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  const store = redisIdempotencyStore(ioredisPort(redis, { commandTimeoutMs: 2_000 }));
  return pawlKeys(store, async () => void (await redis.quit()));
};

export function pawlSql(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { sql, close } = openPort(database, urls);
    return pawlKeys(sqlIdempotencyStore(sql), close);
  };
}

export function pawlGrouped(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { sql, close } = openGroupPort(database, urls);
    return pawlKeys(groupedIdempotencyStore(sql), close);
  };
}
