import { spawnSync } from 'node:child_process';
import { provideServers } from './provide-servers.ts';

/** `npm test`: the servers, the checks, the tests. With arguments, only the tests that they name. */
const names = process.argv.slice(2);

function run(command: string, ...args: string[]): void {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(signal === null ? (status ?? 255) : 255);
}

if (!(await provideServers())) process.exit(1);
if (names.length === 0) run(process.execPath, 'scripts/check.ts');
run('vitest', 'run', ...names);
