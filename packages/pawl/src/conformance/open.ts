import type { IdempotencyStore } from '../idempotency-store.ts';
import type { LockStore } from '../lock-store.ts';
import type { RedisPort, RedisSubscriber, SqlPort, SqlSessions } from '../ports.ts';
import { within } from './waiting.ts';

/** Where a server is, and as whom to come to it. */
export interface ServerAddress {
  readonly host: string;
  /** Not always the server's own: the suite puts itself in between to cut connections. */
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface SqlConnection extends ServerAddress {
  /** How many connections the port must be able to have at once. */
  readonly connections: number;
}

interface Closable {
  /** Closes every connection, and resolves when the process could end. */
  close(): Promise<void>;
}

export interface OpenedSqlPort extends Closable {
  readonly sql: SqlPort;
  /** For `sqlLockConformance`: sessions of a pool of their own, with `connections` connections. */
  readonly sessions?: SqlSessions;
}

export interface OpenedRedisPort extends Closable {
  readonly redis: RedisPort;
  /** For `redisLockConformance`: on a connection of its own. */
  readonly subscriber?: RedisSubscriber;
}

export interface OpenedIdempotencyStore extends Closable {
  readonly store: IdempotencyStore;
}

export interface OpenedLockStore extends Closable {
  readonly store: LockStore;
}

/** What a module for `sqlConformance` and `sqlLockConformance` exports as `open`. Give the adapter limits of a few seconds, without TLS. */
export type OpenSqlPort = (connection: SqlConnection) => OpenedSqlPort | Promise<OpenedSqlPort>;

/** What a module for `redisConformance` and `redisLockConformance` exports as `open`. Resolves when commands can be sent. */
export type OpenRedisPort = (server: ServerAddress) => OpenedRedisPort | Promise<OpenedRedisPort>;

/** Which records, or locks, of a store of one's own are meant. */
export interface StoreNamespace {
  /** As it was given to `idempotencyStoreConformance`, or to `lockStoreConformance`. */
  readonly url: string | undefined;
  /** The same for all who shall see the same records, or locks: part of a table's name, or in front of every key. */
  readonly namespace: string;
}

/** What a module for `idempotencyStoreConformance` exports as `open`. */
export type OpenIdempotencyStore = (
  which: StoreNamespace,
) => OpenedIdempotencyStore | Promise<OpenedIdempotencyStore>;

/** What a module for `lockStoreConformance` exports as `open`. */
export type OpenLockStore = (which: StoreNamespace) => OpenedLockStore | Promise<OpenedLockStore>;

/** What the servers listen to where a URL does not say. */
const PORTS: Readonly<Record<string, number>> = {
  'postgres:': 5432,
  'postgresql:': 5432,
  'mysql:': 3306,
  'mariadb:': 3306,
  'redis:': 6379,
};

/** @throws TypeError  It is no URL, or names no port and none is known. */
export function addressOf(url: string): ServerAddress {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const known = port === '' ? PORTS[protocol] : Number(port);
  if (known === undefined) throw new TypeError(`the URL of the server must name a port: ${protocol}`);
  return {
    host: hostname,
    port: known,
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
  };
}

/** @throws TypeError  The module exports no `open`. @throws when nothing is open within the limit, or what `open` throws. */
export async function openSql(module: string, connection: SqlConnection): Promise<OpenedSqlPort> {
  const open = await openOf<OpenSqlPort>(module);
  return within(Promise.resolve(open(connection)), `what ${module} opens`);
}

/** As `openSql`. */
export async function openRedis(module: string, server: ServerAddress): Promise<OpenedRedisPort> {
  const open = await openOf<OpenRedisPort>(module);
  return within(Promise.resolve(open(server)), `what ${module} opens`);
}

/** As `openSql`. */
export async function openStore(module: string, which: StoreNamespace): Promise<OpenedIdempotencyStore> {
  const open = await openOf<OpenIdempotencyStore>(module);
  return within(Promise.resolve(open(which)), `what ${module} opens`);
}

/** As `openSql`. */
export async function openLockStore(module: string, which: StoreNamespace): Promise<OpenedLockStore> {
  const open = await openOf<OpenLockStore>(module);
  return within(Promise.resolve(open(which)), `what ${module} opens`);
}

async function openOf<Open>(module: string): Promise<Open> {
  const { open }: { open?: unknown } = await import(module);
  if (typeof open !== 'function') throw new TypeError(`${module} does not export a function named open`);
  return open as Open;
}
