import { existsSync, readFileSync } from 'node:fs';
import { composeProblems } from './deploy/compose-rules.ts';
import { dockerfileProblems } from './deploy/dockerfile-rules.ts';
import { containerNginxConf } from './deploy/front-door.ts';
import { settingsPage, settingsWithoutMeaning } from './deploy/settings-page.ts';

/** Checks what nobody here can run: `deploy/`. Prints what is wrong, and ends with 1 then. From the root of the checkout. */
const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: { node: string } };

const found: Record<string, readonly string[]> = {
  'deploy/compose.yaml': composeProblems(read('deploy/compose.yaml')),
  'deploy/Dockerfile': dockerfileProblems(read('deploy/Dockerfile'), {
    ignore: read('.dockerignore'),
    exists: existsSync,
    nodeVersion: devDependencies.node,
  }),
  'deploy/nginx.conf': stale('deploy/nginx.conf', containerNginxConf(), 'nginx-conf'),
  settings: settingsWithoutMeaning().map((name) => `${name} has no description in its schema`),
  'deploy/SETTINGS.md': stale('deploy/SETTINGS.md', settingsPage(), 'settings'),
};

for (const [place, problems] of Object.entries(found)) {
  for (const problem of problems) process.stdout.write(`${place}: ${problem}\n`);
}
process.exitCode = Object.values(found).every((problems) => problems.length === 0) ? 0 : 1;

function stale(path: string, made: string, script: string): string[] {
  return existsSync(path) && read(path) === made ? [] : [`is not what "npm run ${script}" makes`];
}

function read(path: string): string {
  return readFileSync(path, 'utf8');
}
