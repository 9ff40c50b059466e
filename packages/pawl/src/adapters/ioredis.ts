import { MisuseError, StoreError } from '../errors.ts';
import type { RedisPort } from '../ports.ts';

/** What this adapter needs of a client of `ioredis`. */
export interface IoredisClient {
  call(command: string, args: (string | number)[]): Promise<unknown>;
  readonly status: string;
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined;
    readonly enableOfflineQueue?: boolean | undefined;
    readonly maxRetriesPerRequest?: number | null | undefined;
  };
}

/**
 * The Redis port over a client of `ioredis`.
 *
 * The client must be made with `autoResendUnfulfilledCommands: false`, `enableOfflineQueue: false` and
 * `maxRetriesPerRequest: 0`. With its defaults it sends a command again whose answer was lost: one `DECR` then counts
 * twice, and a `SET NX` that had won is told that it lost. With retries left, a command whose connection broke is
 * neither answered nor rejected.
 *
 * @throws MisuseError  The client is made otherwise.
 */
export function ioredisPort(client: IoredisClient): RedisPort {
  const { autoResendUnfulfilledCommands, enableOfflineQueue, maxRetriesPerRequest } = client.options;
  if (autoResendUnfulfilledCommands !== false || enableOfflineQueue !== false || maxRetriesPerRequest !== 0) {
    throw new MisuseError(
      'ioredis must be made with autoResendUnfulfilledCommands: false, enableOfflineQueue: false ' +
        'and maxRetriesPerRequest: 0',
    );
  }
  return {
    async command(name, ...args) {
      if (client.status !== 'ready') {
        throw new StoreError('UNAVAILABLE', 'none', `Redis is not connected (${client.status})`);
      }
      try {
        return await client.call(name, [...args]);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        // ioredis names an answer of the server ReplyError; anything else is the connection's.
        if (error instanceof Error && error.name === 'ReplyError') {
          throw new StoreError('REJECTED', 'none', message, { cause: error });
        }
        throw new StoreError('CONNECTION_LOST', 'unknown', message, { cause: error });
      }
    },
  };
}
