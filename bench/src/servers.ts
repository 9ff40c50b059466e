import { Redis } from 'ioredis';
import {
  type DatabaseSettings,
  readDatabaseSettings,
} from '../../packages/race-lab/src/checkers/database-settings.ts';
import { withDatabase } from '../../packages/race-lab/src/cluster/database-session.ts';
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
  await makeWalFiles(postgres.url);
  return { redis: redis.url, postgres: postgres.url, mariadb: mariadb.url };
}

/** As many of 16 MB as PostgreSQL comes to use by itself: `max_wal_size`, 1 GB. */
const WAL_FILES = 64;
const LIMIT_MS = 60_000;

/**
 * Makes the files of the write-ahead log. A server that has run for a while uses them over and over; one that has just been started
 * makes each when it comes to it, writes it full of zeros and syncs it, and every COMMIT waits for that, 50 ms and more: so that the more
 * a row of the bench writes, the more of its round would be spent on what happens once in the life of a server.
 */
async function makeWalFiles(url: string): Promise<void> {
  await withDatabase(url, LIMIT_MS, async (query) => {
    const set = async (settings: string) => {
      await query(`ALTER SYSTEM ${settings}`);
      await query('SELECT pg_reload_conf()');
    };
    await set("SET min_wal_size = '1GB'");
    // Or it would use the first again before the last is made.
    await set("SET max_wal_size = '4GB'");
    for (let file = 0; file < WAL_FILES; file++) {
      // There is no next one while nothing is in this.
      await query("SELECT pg_logical_emit_message(true, 'bench', '')");
      await query('SELECT pg_switch_wal()');
    }
    await query('CHECKPOINT');
    await set('RESET max_wal_size');
  });
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
