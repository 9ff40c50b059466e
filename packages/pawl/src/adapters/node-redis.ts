import { MisuseError } from '../errors.ts';
import type { RedisListener, RedisPort, RedisSubscriber } from '../ports.ts';
import { type RedisPortOptions, redisPort } from './redis-port.ts';

/** What this adapter needs of a client of node-redis 5 or newer. */
export interface NodeRedisClient {
  sendCommand(args: string[], options: { typeMapping: Readonly<Record<number, unknown>> }): Promise<unknown>;
  readonly isOpen: boolean;
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  destroy(): void;
  readonly options?: { readonly disableOfflineQueue?: boolean | undefined } | undefined;
}

/**
 * The Redis port over a client of node-redis: the package `redis`, or `@redis/client`, which it contains.
 *
 * The client must be made with `disableOfflineQueue: true`. By default it keeps a command that comes while it is not
 * connected, and sends it when it is: without a limit (5), or within 5 s (6). A command whose answer was lost it rejects,
 * with any settings.
 *
 * A connection that has fallen silent is replaced by `destroy` and `connect`, with their `end` and `ready` events. One that
 * falls silent while it is being opened is given up with a `socketTimeout`, if there is also a shorter `pingInterval`, for
 * the idle ones, and a `reconnectStrategy`, since the default then gives up for good. Give the port a client without
 * blocking commands, behind which its own would wait.
 *
 * @throws MisuseError  The client is made otherwise.
 */
export function nodeRedisPort(client: NodeRedisClient, options: RedisPortOptions): RedisPort {
  if (client.options?.disableOfflineQueue !== true) {
    throw new MisuseError('node-redis must be made with disableOfflineQueue: true');
  }
  return redisPort(
    {
      notReady() {
        if (client.isReady && client.isOpen) return undefined;
        return client.isOpen ? 'connecting' : 'closed';
      },
      // It takes no numbers.
      send: (name, args) => client.sendCommand([name, ...args.map(String)], { typeMapping: RESP2_SHAPES }),
      isErrorReply,
      replaceConnection() {
        // Where somebody closes it, or it is connecting again already, there is nothing to replace.
        if (!client.isOpen || !client.isReady) return;
        reopen(client);
      },
    },
    options,
  );
}

/** What `nodeRedisSubscriber` needs of a client of node-redis 5 or newer. */
export interface NodeRedisSubscriberClient {
  subscribe(channel: string, listener: (text: string) => void): Promise<unknown>;
  unsubscribe(channel: string, listener: (text: string) => void): Promise<unknown>;
  on(event: 'ready' | 'reconnecting' | 'end', listener: () => void): unknown;
  readonly isOpen: boolean;
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  destroy(): void;
}

/**
 * The Redis subscriber over a client of node-redis that does nothing else: `client.duplicate()` of the one that is given to
 * `nodeRedisPort`, so that both come to the same server.
 */
export function nodeRedisSubscriber(client: NodeRedisSubscriberClient): RedisSubscriber {
  const listeners = new Map<string, RedisListener & { told(text: string): void }>();
  let connection = 0;

  function listen(channel: string): void {
    const listener = listeners.get(channel);
    if (listener === undefined) return;
    const on = connection;
    // Where the client has subscribed again by itself, it answers at once.
    client.subscribe(channel, listener.told).then(
      () => {
        if (on === connection && listeners.get(channel) === listener) listener.listening();
      },
      () => undefined, // The connection is lost, and its owner told; it is tried again on the next one.
    );
  }

  function lost(): void {
    connection++;
    for (const listener of listeners.values()) listener.lost();
  }

  client.on('ready', () => {
    for (const channel of listeners.keys()) listen(channel);
  });
  client.on('reconnecting', lost);
  client.on('end', lost);

  return {
    subscribe(channel, listener) {
      const told = (text: string) => listener.message(text);
      listeners.set(channel, {
        told,
        message: told,
        listening: () => listener.listening(),
        lost: () => listener.lost(),
      });
      if (client.isReady) listen(channel);
      return {
        replace() {
          if (client.isOpen && client.isReady) reopen(client);
        },
        stop() {
          listeners.delete(channel);
          // Where it fails, messages go on to come for which nobody waits.
          client.unsubscribe(channel, told).catch(() => undefined);
        },
      };
    },
  };
}

function reopen(client: Pick<NodeRedisClient, 'connect' | 'destroy'>): void {
  client.destroy();
  // It tells of its failures by `error` events, and goes on trying as its reconnectStrategy says.
  client.connect().catch(() => undefined);
}

/**
 * Type of reply, which is its first byte in the protocol → how it is decoded. Replies look the same in both versions of the
 * protocol, whatever the client's own mapping: a big number `(`, a double `,` and a map `%` as their RESP2 forms.
 */
const RESP2_SHAPES = { 40: String, 44: String, 37: Array };

/** Its errors have no names of their own, so their classes are asked: replies are `ErrorReply`, or derived from it. */
function isErrorReply(error: Error): boolean {
  for (
    let type: unknown = error.constructor;
    typeof type === 'function';
    type = Object.getPrototypeOf(type)
  ) {
    if (type.name === 'ErrorReply') return true;
  }
  return false;
}
