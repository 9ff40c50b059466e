import type { TestProject } from 'vitest/node';
import { startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { startTestServers, TEST_SERVERS, type TestServers } from '../scripts/test-servers.ts';

declare module 'vitest' {
  interface ProvidedContext extends TestServers {}
}

/**
 * The servers of the whole run, all private; each test file makes databases of its own on them. A run that was started by
 * another (`npm run mutants`) uses that one's, and leaves them running.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env[TEST_SERVERS];
  if (given !== undefined) {
    provide(project, JSON.parse(given) as TestServers);
    return async () => undefined;
  }
  const guardian = await startGuardian();
  const end = async () => {
    const problems = await guardian.end();
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
  try {
    provide(project, await startTestServers(guardian, new AbortController().signal));
    return end;
  } catch (error) {
    await end();
    throw error;
  }
}

function provide(project: TestProject, servers: TestServers): void {
  project.provide('postgresUrl', servers.postgresUrl);
  project.provide('mariadbUrl', servers.mariadbUrl);
  project.provide('mariadbSnapshotUrl', servers.mariadbSnapshotUrl);
  project.provide('redisUrl', servers.redisUrl);
}
