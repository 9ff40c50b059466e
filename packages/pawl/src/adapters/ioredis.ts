import { MisuseError } from '../errors.ts';
import type { RedisPort } from '../ports.ts';
import { type RedisPortOptions, redisPort } from './redis-port.ts';

/** What this adapter needs of a client of `ioredis`. */
export interface IoredisClient {
  call(command: string, args: (string | number)[]): Promise<unknown>;
  readonly status: string;
  /** Absent before the first connection. */
  readonly stream?: { readonly writable: boolean; destroy(): unknown };
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined;
    readonly enableOfflineQueue?: boolean | undefined;
    readonly maxRetriesPerRequest?: number | null | undefined;
    readonly stringNumbers?: boolean | undefined;
  };
}

/**
 * The Redis port over a client of `ioredis`.
 *
 * The client must be made with `autoResendUnfulfilledCommands: false`, `enableOfflineQueue: false` and
 * `maxRetriesPerRequest: 0`. With its defaults it sends a command again whose answer was lost: one `DECR` then counts
 * twice, and a `SET NX` that had won is told that it lost. With retries left, a command whose connection broke is
 * neither answered nor rejected. And it must be made without `stringNumbers`, with which a script's 1 is another value.
 *
 * With `socketTimeout` a connection is given up as well that falls silent while it is being opened; in version 5 not always,
 * because its timer outlives the connection. Give the port a client without blocking commands, behind which its own would
 * wait.
 *
 * @throws MisuseError  The client is made otherwise.
 */
export function ioredisPort(client: IoredisClient, options: RedisPortOptions): RedisPort {
  refuseUnsafe(client.options);
  return redisPort(
    {
      notReady() {
        if (client.status !== 'ready') return client.status;
        // While it closes, it is still called ready.
        return client.stream?.writable ? undefined : 'closing';
      },
      send: (name, args) => client.call(name, [...args]),
      isErrorReply: ({ name }) => name === 'ReplyError',
      replaceConnection() {
        // It reconnects, as after any loss. Its own disconnect() would say goodbye first, and wait for the other side.
        client.stream?.destroy();
      },
    },
    options,
  );
}

function refuseUnsafe(options: IoredisClient['options']): void {
  const { autoResendUnfulfilledCommands, enableOfflineQueue, maxRetriesPerRequest } = options;
  if (autoResendUnfulfilledCommands !== false || enableOfflineQueue !== false || maxRetriesPerRequest !== 0) {
    throw new MisuseError(
      'ioredis must be made with autoResendUnfulfilledCommands: false, enableOfflineQueue: false ' +
        'and maxRetriesPerRequest: 0',
    );
  }
  if (options.stringNumbers) throw new MisuseError('ioredis must be made without stringNumbers');
}
