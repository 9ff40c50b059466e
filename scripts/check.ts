import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { lockfileOmissions } from './complete-lockfile.ts';

/** Runs a tool of the project; what it printed comes back with its exit code. */
function run(tool: string, ...args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    let output = '';
    child.stdout.on('data', (text) => {
      output += text;
    });
    child.stderr.on('data', (text) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** A tool is content, or this is what it said. */
type Check = () => Promise<string | undefined>;

const succeeds =
  (tool: string, ...args: string[]): Check =>
  async () => {
    const { code, output } = await run(tool, ...args);
    return code === 0 ? undefined : output;
  };

const SOURCES = ['packages', 'apps', 'bench', 'scripts', 'test', 'deploy'];

/** dependency-cruiser finds nothing wrong with modules that it could not read, so it must also have seen them all. */
const dependencyRules: Check = async () => {
  const { code, output } = await run('depcruise', '--output-type', 'json', ...SOURCES);
  const start = output.indexOf('{');
  if (start < 0) return output;
  const { summary, modules } = JSON.parse(output.slice(start)) as {
    summary: { violations: { rule: { name: string }; from: string; to: string }[] };
    modules: { source: string }[];
  };
  const seen = new Set(modules.map(({ source }) => source));
  const unseen = globSync(
    SOURCES.map((folder) => `${folder}/**/*.{ts,mjs}`),
    {
      exclude: (name) => name.split('/').includes('node_modules'),
    },
  ).filter((file) => !seen.has(file));
  const found = [
    ...summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`),
    ...unseen.map((file) => `not seen by dependency-cruiser: ${file}`),
  ];
  if (found.length > 0) return found.join('\n');
  return code === 0 ? undefined : output;
};

const wholeLockfile: Check = async () => {
  const omissions = lockfileOmissions();
  if (omissions.length === 0) return undefined;
  return `${omissions.join('\n')}\nare not in the lockfile: run "node scripts/complete-lockfile.ts"`;
};

const checks: Record<string, Check> = {
  lockfile: wholeLockfile,
  'format and lint': succeeds('biome', 'ci', '--error-on-warnings', '.'),
  types: succeeds('tsc'),
  // k6 is another machine than Node: its scripts see its names, and nobody else does.
  'types of the k6 scripts': succeeds('tsc', '-p', 'deploy/k6'),
  'dependency rules': dependencyRules,
  'unused code': succeeds('knip', '--no-progress'),
  deploy: succeeds(process.execPath, 'scripts/check-deploy.ts'),
};

const results = await Promise.all(
  Object.entries(checks).map(async ([name, check]) => ({ name, complaint: await check() })),
);
for (const { name, complaint } of results) {
  if (complaint !== undefined) process.stderr.write(`✗ ${name}\n${complaint}\n`);
}
process.exitCode = results.every(({ complaint }) => complaint === undefined) ? 0 : 1;
