import { onTestFinished } from 'vitest';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { installedMariadb, mariadbPackage, startMariadb } from '../packages/race-lab/src/cluster/mariadb.ts';

/** A MariaDB for what would disturb everybody else on the run's. It ends with the test. @returns its URL */
export async function newMariadb(): Promise<string> {
  const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
  const guardian = await startGuardian();
  onTestFinished(async () => {
    await guardian.end();
  });
  return (await startMariadb(guardian, { program, signal: new AbortController().signal })).url;
}
