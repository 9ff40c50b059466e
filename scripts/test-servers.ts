import { type ServerPackage, serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import type { Guardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { mariadbPackage, startMariadb } from '../packages/race-lab/src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../packages/race-lab/src/cluster/postgres.ts';
import { redisPackage, startRedis } from '../packages/race-lab/src/cluster/redis.ts';

/** The servers of a run of tests, by their URLs. */
export interface TestServers {
  readonly postgresUrl: string;
  /** With `innodb_snapshot_isolation` off, the default before MariaDB 11.6.2. */
  readonly mariadbUrl: string;
  /** With `innodb_snapshot_isolation` on, the default since. */
  readonly mariadbSnapshotUrl: string;
  readonly redisUrl: string;
}

/** The variable by which one run gives its servers to another that it starts, as JSON. */
export const TEST_SERVERS = 'PAWL_TEST_SERVERS';

/** Starts them all, private. They end with the guardian. @throws where one is not installed, or as its start does. */
export async function startTestServers(guardian: Guardian, signal: AbortSignal): Promise<TestServers> {
  const redis = await programOf(redisPackage);
  const program = await programOf(mariadbPackage);
  const snapshot = { name: 'mariadb-snapshot', snapshotIsolation: true };
  const [postgres, mariadb, mariadbSnapshot, redisServer] = await Promise.all([
    // A run makes hundreds of databases, and something would be at work in one after the other.
    startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), vacuums: false, signal }),
    startMariadb(guardian, { program, signal }),
    startMariadb(guardian, { program, ...snapshot, signal }),
    startRedis(guardian, redis, signal),
  ]);
  return {
    postgresUrl: postgres.url,
    mariadbUrl: mariadb.url,
    mariadbSnapshotUrl: mariadbSnapshot.url,
    redisUrl: redisServer.url,
  };
}

async function programOf(server: ServerPackage): Promise<string> {
  const found = await serverFinder(process.env.PATH ?? '')(server);
  if (!found.found) throw new Error(`the tests need ${server.programs[0]}: ${found.install}`);
  return found.path;
}
