import { Idempotency, IdempotencyError, IdempotencyErrorCodes } from '@node-idempotency/core';
import { RedisStorageAdapter } from '@node-idempotency/storage-adapter-redis';
import type { OpenOperation } from '../../operations/operation.ts';
import { payloadOf } from '../result.ts';
import { guarded } from './guarded.ts';

/** What its plug-ins for frameworks do before and after a handler. */
export const openNodeIdempotency: OpenOperation = async ({ redis: url }) => {
  const storage = new RedisStorageAdapter({ url });
  await storage.connect();
  const idempotency = new Idempotency(storage);
  return guarded({
    async run(key, work) {
      const request = {
        headers: { 'idempotency-key': key },
        ...{ path: '/payments', method: 'POST', body: JSON.parse(payloadOf(key)) },
      };
      try {
        const stored = await idempotency.onRequest<string, unknown>(request);
        if (stored !== undefined) return stored.body;
      } catch (error) {
        if (error instanceof IdempotencyError && error.code === IdempotencyErrorCodes.REQUEST_IN_PROGRESS) {
          return undefined;
        }
        throw error;
      }
      const result = await work();
      await idempotency.onResponse(request, { body: result });
      return result;
    },
    close: () => storage.disconnect(),
  });
};
