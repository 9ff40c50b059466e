import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { mariadbPackage } from '../packages/race-lab/src/cluster/mariadb.ts';
import { nginxPackage } from '../packages/race-lab/src/cluster/nginx.ts';
import { redisPackage } from '../packages/race-lab/src/cluster/redis.ts';
import { chromiumPackage } from './chromium.ts';

/**
 * Makes sure that the servers and the browser which the tests need are installed. On Debian, as root, it installs what is missing
 * and says so, unless `PAWL_INSTALL=0`; elsewhere it names what is missing and the command.
 *
 * @returns whether the tests can run
 */
export async function provideServers(): Promise<boolean> {
  const missing = await missingServers();
  if (missing.length === 0) return true;
  const names = missing.flatMap(({ debian }) => debian);

  if (process.env.PAWL_INSTALL === '0' || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    process.stderr.write(`The tests need programs that are not installed. Install them:\n`);
    for (const { install } of missing) process.stderr.write(`  ${install}\n`);
    return false;
  }
  process.stderr.write(`Installing ${names.join(' and ')} with apt-get (PAWL_INSTALL=0 forbids it).\n`);
  const options: ExecFileSyncOptions = {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  };
  execFileSync('apt-get', ['update', '-qq'], options);
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], options);
  return (await missingServers()).length === 0;
}

async function missingServers() {
  const find = serverFinder(process.env.PATH ?? '');
  const looked = await Promise.all(
    [redisPackage, nginxPackage, mariadbPackage, chromiumPackage].map(async (server) => ({
      debian: server.debian,
      found: await find(server),
    })),
  );
  return looked.flatMap(({ debian, found }) => (found.found ? [] : [{ debian, install: found.install }]));
}
