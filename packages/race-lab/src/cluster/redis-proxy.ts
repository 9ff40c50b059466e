import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './ports.ts';
import { type Reply, replySplitter } from './resp.ts';

/** Where a Redis listens. */
export interface RedisAddress {
  host: string;
  port: number;
}

/** What connections are cut. */
export interface CutChoice {
  /** `subscribers`: those that listen, or have listened, to channels. */
  kind: 'all' | 'subscribers';
  /** Only those of one client, by its number from 0; absent: everybody's. */
  client?: number;
}

/** Messages that do not arrive. */
export interface MessageDrop {
  /** How many did not arrive so far. */
  readonly dropped: number;
  /** From now on they arrive again. */
  end(): void;
}

/**
 * Stands between clients and their Redis: what they send and are told goes through it unchanged, until something is to break.
 *
 * A server that is not there is seen as a connection that ends at once, instead of one that is refused.
 */
export interface RedisProxy {
  /** Where each client is to connect: one port each, so that it is known whose connection is whose. */
  readonly ports: readonly number[];
  /** Where connections lead that are made from now on. */
  leadTo(address: RedisAddress): void;
  /** Cuts connections in both directions at once. @returns how many. */
  cut(choice: CutChoice): number;
  /**
   * Lets the next `count` messages on such channels, to whomever they go, not arrive. Nothing else is held up, and nobody is told.
   */
  dropMessages(count: number, isMeant: (channel: string) => boolean): MessageDrop;
  /** The channels that a client listens to at this moment. */
  channelsOf(client: number): ReadonlySet<string>;
  /** How many connections a client has at this moment. */
  connections(client: number): number;
  /** Cuts everything and listens no more. */
  close(): Promise<void>;
}

interface Connection {
  readonly client: number;
  readonly ours: Socket;
  readonly theirs: Socket;
  readonly channels: Set<string>;
  /** Also when it has left them all again. */
  isSubscriber: boolean;
}

interface Drop extends MessageDrop {
  left: number;
  dropped: number;
  isMeant(channel: string): boolean;
}

/** Starts one for so many clients. @throws the error of a port that cannot be opened. */
export async function startRedisProxy(clients: number, address: RedisAddress): Promise<RedisProxy> {
  const connections = new Set<Connection>();
  const drops = new Set<Drop>();
  let target = address;

  function accept(client: number, theirs: Socket): void {
    const ours = connect({ ...target, noDelay: true });
    const connection: Connection = { client, ours, theirs, channels: new Set(), isSubscriber: false };
    connections.add(connection);
    theirs.setNoDelay(true);
    const end = () => cutOne(connection);
    for (const socket of [ours, theirs]) socket.on('error', end).on('close', end).on('end', end);
    theirs.on('data', (bytes) => ours.write(bytes));
    const split = replySplitter();
    ours.on('data', (chunk) => {
      try {
        const arriving = split(chunk).filter(({ reply }) => arrives(connection, reply));
        if (arriving.length > 0) theirs.write(Buffer.concat(arriving.map(({ bytes }) => bytes)));
      } catch {
        end(); // It is no Redis.
      }
    });
  }

  function cutOne(connection: Connection): void {
    connections.delete(connection);
    connection.channels.clear();
    connection.ours.destroy();
    connection.theirs.destroy();
  }

  /** Whether the client is to be told; notes what it listens to. */
  function arrives(connection: Connection, reply: Reply): boolean {
    const [kind, channel] = Array.isArray(reply) ? reply : [];
    if (typeof channel !== 'string') return true;
    if (kind === 'subscribe') {
      connection.isSubscriber = true;
      connection.channels.add(channel);
    } else if (kind === 'unsubscribe') connection.channels.delete(channel);
    if (kind !== 'message' || !connection.isSubscriber) return true;
    const drop = [...drops].find(({ left, isMeant }) => left > 0 && isMeant(channel));
    if (drop === undefined) return true;
    drop.left--;
    drop.dropped++;
    return false;
  }

  const servers = await Promise.all(
    Array.from({ length: clients }, (_, client) => listening((socket) => accept(client, socket))),
  );
  return {
    ports: servers.map((server) => (server.address() as AddressInfo).port),
    leadTo(address) {
      target = address;
    },
    cut({ kind, client }) {
      const meant = [...connections].filter(
        (one) => (kind === 'all' || one.isSubscriber) && (client === undefined || one.client === client),
      );
      for (const one of meant) cutOne(one);
      return meant.length;
    },
    dropMessages(count, isMeant) {
      const drop: Drop = { left: count, dropped: 0, isMeant, end: () => void drops.delete(drop) };
      drops.add(drop);
      return drop;
    },
    channelsOf: (client) =>
      new Set(
        [...connections].filter((one) => one.client === client).flatMap(({ channels }) => [...channels]),
      ),
    connections: (client) => [...connections].filter((one) => one.client === client).length,
    async close() {
      for (const one of connections) cutOne(one);
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

async function listening(accept: (socket: Socket) => void): Promise<Server> {
  const server = createServer(accept);
  server.listen({ port: await freePort.next(), host: '127.0.0.1', exclusive: true });
  await once(server, 'listening');
  return server;
}
