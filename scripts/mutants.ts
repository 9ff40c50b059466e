import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mutants } from '../packages/pawl/mutants/index.ts';
import type { Mutant } from '../packages/pawl/mutants/mutant.ts';
import { type Guardian, startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { copyCheckout } from './mutation/checkout-copy.ts';
import { mutate } from './mutation/mutate.ts';
import { type Judged, runMutants } from './mutation/run-mutants.ts';
import type { Workplace } from './mutation/run-tests.ts';
import { startTestServers, TEST_SERVERS } from './test-servers.ts';

/**
 * `npm run mutants`: takes decisive lines out of the library, one at a time, and runs the test that must fail without it.
 * Everything happens in copies of the checkout, which end with the command, also when it is killed.
 */
const PACKAGE = 'packages/pawl';
const ROOT = join(import.meta.dirname, '..');
/** Runs at once, as of `npm test`: each has a database of its own, and the tests are made for it. */
const AT_ONCE = 2;

const USAGE = `npm run mutants -- [--list] [--only TEXT]

  --list       shows the mutants, and runs nothing
  --only TEXT  those alone whose file, line, reason or test contains TEXT
`;

interface Arguments {
  list: boolean;
  only: string;
}

function parse(): Arguments | undefined {
  try {
    const { values } = parseArgs({ options: { list: { type: 'boolean' }, only: { type: 'string' } } });
    return { list: values.list ?? false, only: values.only ?? '' };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return undefined;
  }
}

function contains({ file, line, why, test }: Mutant, text: string): boolean {
  return [file, line, why, test.file, test.name].some((part) => part.includes(text));
}

function show(chosen: readonly Mutant[]): number {
  let lost = 0;
  for (const mutant of chosen) {
    const mutated = mutate(readFileSync(join(ROOT, PACKAGE, mutant.file), 'utf8'), mutant);
    if ('problem' in mutated) lost++;
    const place = 'problem' in mutated ? `THE LINE IS ${mutated.problem.toUpperCase()}` : mutated.lineNumber;
    const { file, line, replacement, why, test } = mutant;
    const instead = replacement === undefined ? '' : `\n  + ${indented(replacement)}`;
    print(`${file}:${place}  ${why}\n  - ${indented(line)}${instead}\n  ${test.file}: ${test.name}\n`);
  }
  print(`${chosen.length} mutants`);
  return lost === 0 ? 0 : 1;
}

function indented(text: string): string {
  return text.trim().replaceAll('\n', '\n    ');
}

async function run(chosen: readonly Mutant[]): Promise<number> {
  const startMs = performance.now();
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interrupted.abort(signal));
  }
  const guardian = await startGuardian();
  const counts = { killed: 0, 'killed-by-time': 0, survived: 0, unproved: 0 };
  try {
    await runMutants(await workplaces(guardian, interrupted.signal), PACKAGE, chosen, (judged) => {
      counts[judged.verdict.verdict]++;
      printJudged(judged);
    });
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 255;
  } finally {
    for (const problem of await guardian.end()) process.stderr.write(`${problem}\n`);
  }
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  const killed = counts.killed + counts['killed-by-time'];
  const { survived, unproved } = counts;
  print(
    `\n${chosen.length} mutants: ${killed} killed, ${survived} survived, ${unproved} unproved, in ${seconds} s`,
  );
  return killed === chosen.length ? 0 : 1;
}

async function workplaces(guardian: Guardian, signal: AbortSignal): Promise<Workplace[]> {
  const servers = await startTestServers(guardian, signal);
  return Promise.all(
    Array.from({ length: AT_ONCE }, async (_, index) => {
      const name = `mutants-${index + 1}`;
      const folder = join(guardian.directory, name);
      const temporary = join(guardian.directory, `${name}-tmp`);
      await copyCheckout(ROOT, folder);
      // A test's own server may run as another user, and must reach its folder.
      await mkdir(temporary, { mode: 0o755 });
      const env = { [TEST_SERVERS]: JSON.stringify(servers), TMPDIR: temporary };
      return { name, folder, guardian, env, signal };
    }),
  );
}

function printJudged({ mutant, lineNumber, verdict, durationMs }: Judged): void {
  const seconds = (durationMs / 1_000).toFixed(1);
  print(
    `${verdict.verdict.padEnd(14)}  ${seconds.padStart(5)} s  ${mutant.file}:${lineNumber}  ${mutant.why}`,
  );
  if (verdict.verdict === 'unproved') print(`  ${indented(verdict.why)}`);
  const killed = verdict.verdict === 'killed' || verdict.verdict === 'killed-by-time';
  if (!killed) print(`  ${mutant.test.file}: ${mutant.test.name}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const args = parse();
const chosen = mutants.filter((mutant) => contains(mutant, args?.only ?? ''));
if (args === undefined) {
  process.exitCode = 254;
} else if (chosen.length === 0) {
  process.stderr.write(`no mutant contains "${args.only}"\n`);
  process.exitCode = 254;
} else {
  process.exitCode = args.list ? show(chosen) : await run(chosen);
}
