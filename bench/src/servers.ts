import { Redis } from 'ioredis';
import {
  type DatabaseSettings,
  readDatabaseSettings,
} from '../../packages/race-lab/src/checkers/database-settings.ts';
import { type ServerPackage, serverFinder } from '../../packages/race-lab/src/cluster/find-server.ts';
import type { Guardian } from '../../packages/race-lab/src/cluster/guardian.ts';
import { hostEnv } from '../../packages/race-lab/src/cluster/host-env.ts';
import { mariadbPackage, startMariadb } from '../../packages/race-lab/src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../../packages/race-lab/src/cluster/postgres.ts';
import { redisPackage, startRedis } from '../../packages/race-lab/src/cluster/redis.ts';

/** The servers of a run, by their URLs. */
export interface ServerUrls {
  readonly redis: string;
  readonly postgres: string;
  readonly mariadb: string;
  /** Given by groups that ask the shop. */
  readonly shop?: ShopTarget;
}

/** A shop that has been started, and what is there to ask it for. */
export interface ShopTarget {
  /** The base URLs of its instances. */
  readonly instances: readonly string[];
  /** Open, with more left than any run issues. */
  readonly couponId: string;
  /** The body of a confirmation of an order that is paid; null where nobody asks for it. */
  readonly confirmation: string | null;
}

/** What a server says of itself that changes how fast it is: above all, how durable. */
export interface ServerSettings {
  readonly product: DatabaseSettings['product'] | 'Redis';
  readonly version: string;
  readonly settings: Readonly<Record<string, string>>;
}

/**
 * Starts them all, private: the databases fully durable, Redis with an append-only file that is synced every second. They
 * end with the guardian.
 *
 * @throws ServerMissingError, and as their starts do.
 */
export async function startServers(guardian: Guardian, signal: AbortSignal): Promise<ServerUrls> {
  const [redisProgram, program] = await Promise.all([programOf(redisPackage), programOf(mariadbPackage)]);
  const [redis, postgres, mariadb] = await Promise.all([
    startRedis(guardian, redisProgram, signal),
    startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal }),
    startMariadb(guardian, { program, signal }),
  ]);
  return { redis: redis.url, postgres: postgres.url, mariadb: mariadb.url };
}

/** A server that every run needs is not installed. */
class ServerMissingError extends Error {
  override readonly name = 'ServerMissingError';
  readonly code = 'SERVER_MISSING';
}

async function programOf(server: ServerPackage): Promise<string> {
  const found = await serverFinder(hostEnv().PATH ?? '')(server);
  if (found.found) return found.path;
  throw new ServerMissingError(`${server.programs[0]} is not installed; run "${found.install}"`);
}

/** Asks them. @throws the driver's error. */
export async function readSettings(urls: ServerUrls): Promise<Record<string, ServerSettings>> {
  const [redis, postgres, mariadb] = await Promise.all([
    readRedis(urls.redis),
    readDatabaseSettings(urls.postgres),
    readDatabaseSettings(urls.mariadb),
  ]);
  return { redis, postgres, mariadb };
}

async function readRedis(url: string): Promise<ServerSettings> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => undefined); // What failed is told by the command.
  try {
    await redis.connect();
    const version = /^redis_version:(.*)\r$/m.exec(await redis.info('server'))?.[1] ?? '';
    const settings: Record<string, string> = {};
    for (const name of ['appendonly', 'appendfsync', 'maxmemory-policy']) {
      const [, value] = (await redis.config('GET', name)) as string[];
      if (value !== undefined) settings[name] = value;
    }
    return { product: 'Redis', version, settings };
  } finally {
    redis.disconnect();
  }
}
