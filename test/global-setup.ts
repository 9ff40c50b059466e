import type { TestProject } from 'vitest/node';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { embeddedPostgresFolder, startPostgres } from '../packages/race-lab/src/cluster/postgres.ts';
import { redisPackage, startRedis } from '../packages/race-lab/src/cluster/redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
    redisUrl: string;
  }
}

/** One private PostgreSQL and one private Redis for the whole run; each test file makes a database of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const guardian = await startGuardian();
  const end = async () => {
    const problems = await guardian.end();
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
  try {
    const { signal } = new AbortController();
    const redis = await serverFinder(process.env.PATH ?? '')(redisPackage);
    if (!redis.found) throw new Error(`the tests need Redis: ${redis.install}`);
    const nativeFolder = embeddedPostgresFolder();
    project.provide('postgresUrl', (await startPostgres(guardian, { nativeFolder, signal })).url);
    project.provide('redisUrl', (await startRedis(guardian, redis.path, signal)).url);
    return end;
  } catch (error) {
    await end();
    throw error;
  }
}
