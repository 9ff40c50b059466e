import { IdempotencyAlreadyInProgressError, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';
import { createClient } from '@redis/client';
import type { OpenOperation } from '../../operations/operation.ts';
import { payloadOf } from '../result.ts';
import { guarded } from './guarded.ts';

/** A function that is made idempotent by its first argument, outside Lambda. */
export const openPowertools: OpenOperation = async ({ redis: url }) => {
  const redis = createClient({ url });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  const once = makeIdempotent((_payload: string, work: () => Promise<string>) => work(), {
    persistenceStore: new CachePersistenceLayer({ client: redis }),
    keyPrefix: 'bench',
  });
  return guarded({
    async run(key, work) {
      try {
        return await once(payloadOf(key), work);
      } catch (error) {
        if (error instanceof IdempotencyAlreadyInProgressError) return undefined;
        throw error;
      }
    },
    close: () => redis.close(),
  });
};
