import { MisuseError } from '../errors.ts';
import type { RedisListener, RedisPort, RedisSubscriber } from '../ports.ts';
import { type RedisPortOptions, redisPort } from './redis-port.ts';

/** What this adapter needs of a client of `ioredis`. */
export interface IoredisClient {
  call(command: string, args: (string | number)[]): Promise<unknown>;
  readonly status: string;
  /** Absent before the first connection. */
  readonly stream?: IoredisStream;
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined;
    readonly enableOfflineQueue?: boolean | undefined;
    readonly maxRetriesPerRequest?: number | null | undefined;
    readonly stringNumbers?: boolean | undefined;
  };
}

/** The socket of one connection. */
interface IoredisStream {
  readonly writable: boolean;
  cork(): void;
  uncork(): void;
  destroy(): unknown;
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
  const writes = new JoinedWrites();
  return redisPort(
    {
      notReady() {
        if (client.status !== 'ready') return client.status;
        // While it closes, it is still called ready.
        return client.stream?.writable ? undefined : 'closing';
      },
      send(name, args) {
        if (client.stream !== undefined) writes.join(client.stream);
        return client.call(name, [...args]);
      },
      isErrorReply: ({ name }) => name === 'ReplyError',
      replaceConnection() {
        // It reconnects, as after any loss. Its own disconnect() would say goodbye first, and wait for the other side.
        client.stream?.destroy();
      },
    },
    options,
  );
}

/** More wait for each other no longer, so that Redis begins while the rest are being made. */
const JOINED_AT_MOST = 32;

/**
 * Commands that come in one turn of the event loop are written together: with many callers their answers come together, and
 * so do their next commands, and a system call for each is half of what it costs its process, and most of what it costs Redis.
 * They are written before the turn ends, so that a single caller waits for nobody: `enableAutoPipelining` of ioredis writes in a
 * turn of its own.
 *
 * A connection that breaks meanwhile takes them with it; whether they had been written is as unknown as ever.
 */
class JoinedWrites {
  #corked: IoredisStream | undefined;
  #joined = 0;
  /** Whether the end of this turn is waited for. */
  #ending = false;

  /** The next command on `stream` is to be written with those before it. */
  join(stream: IoredisStream): void {
    if (this.#corked !== stream || this.#joined === JOINED_AT_MOST) {
      this.#write();
      stream.cork();
      this.#corked = stream;
    }
    this.#joined++;
    if (this.#ending) return;
    this.#ending = true;
    process.nextTick(this.#end);
  }

  readonly #end = (): void => {
    this.#ending = false;
    this.#write();
  };

  #write(): void {
    this.#corked?.uncork();
    this.#corked = undefined;
    this.#joined = 0;
  }
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

/** What `ioredisSubscriber` needs of a client of `ioredis`. */
export interface IoredisSubscriberClient {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: 'message', listener: (channel: string, text: string) => void): unknown;
  on(event: 'ready' | 'close', listener: () => void): unknown;
  readonly status: string;
  /** Absent before the first connection. */
  readonly stream?: { destroy(): unknown };
  readonly options: { readonly autoResubscribe?: boolean | undefined };
}

/**
 * The Redis subscriber over a client of `ioredis` that does nothing else: `client.duplicate({ autoResubscribe: false })` of
 * the one that is given to `ioredisPort`, so that both come to the same server.
 *
 * With its default, `autoResubscribe: true`, it subscribes again in a promise that nobody holds: when the connection breaks
 * once more meanwhile, its rejection ends the process.
 *
 * @throws MisuseError  The client is made otherwise.
 */
export function ioredisSubscriber(client: IoredisSubscriberClient): RedisSubscriber {
  if (client.options.autoResubscribe !== false) {
    throw new MisuseError('the subscriber must be made with autoResubscribe: false');
  }
  const listeners = new Map<string, RedisListener>();
  let connection = 0;

  function listen(channel: string, listener: RedisListener): void {
    const on = connection;
    client.subscribe(channel).then(
      () => {
        if (on === connection && listeners.get(channel) === listener) listener.listening();
      },
      () => undefined, // The connection is lost, and its owner told; it is tried again on the next one.
    );
  }

  client.on('message', (channel, text) => listeners.get(channel)?.message(text));
  client.on('ready', () => {
    for (const [channel, listener] of listeners) listen(channel, listener);
  });
  client.on('close', () => {
    connection++;
    for (const listener of listeners.values()) listener.lost();
  });

  return {
    subscribe(channel, listener) {
      listeners.set(channel, listener);
      if (client.status === 'ready') listen(channel, listener);
      return {
        replace() {
          client.stream?.destroy();
        },
        stop() {
          listeners.delete(channel);
          // The next connection listens to those that are left; and a client that was never connected would connect for this.
          if (client.status !== 'ready') return;
          // Where it fails, messages go on to come for which nobody waits.
          client.unsubscribe(channel).catch(() => undefined);
        },
      };
    },
  };
}
