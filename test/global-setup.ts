import type { TestProject } from 'vitest/node';
import { type ServerPackage, serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { mariadbPackage, startMariadb } from '../packages/race-lab/src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../packages/race-lab/src/cluster/postgres.ts';
import { redisPackage, startRedis } from '../packages/race-lab/src/cluster/redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
    /** With `innodb_snapshot_isolation` off, the default before MariaDB 11.6.2. */
    mariadbUrl: string;
    /** With `innodb_snapshot_isolation` on, the default since. */
    mariadbSnapshotUrl: string;
    redisUrl: string;
  }
}

/** The servers of the whole run, all private; each test file makes databases of its own on them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const redis = await programOf(redisPackage);
  const mariadb = await programOf(mariadbPackage);
  const guardian = await startGuardian();
  const end = async () => {
    const problems = await guardian.end();
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
  try {
    const { signal } = new AbortController();
    const provide = async (
      name: 'postgresUrl' | 'mariadbUrl' | 'mariadbSnapshotUrl' | 'redisUrl',
      starting: Promise<{ url: string }>,
    ) => project.provide(name, (await starting).url);
    const snapshot = { name: 'mariadb-snapshot', snapshotIsolation: true };
    await Promise.all([
      provide('postgresUrl', startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal })),
      provide('mariadbUrl', startMariadb(guardian, { program: mariadb, signal })),
      provide('mariadbSnapshotUrl', startMariadb(guardian, { program: mariadb, ...snapshot, signal })),
      provide('redisUrl', startRedis(guardian, redis, signal)),
    ]);
    return end;
  } catch (error) {
    await end();
    throw error;
  }
}

async function programOf(server: ServerPackage): Promise<string> {
  const found = await serverFinder(process.env.PATH ?? '')(server);
  if (!found.found) throw new Error(`the tests need ${server.programs[0]}: ${found.install}`);
  return found.path;
}
