import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeftBehindError } from '../../packages/race-lab/src/cluster/errors.ts';
import { type Guardian, startGuardian } from '../../packages/race-lab/src/cluster/guardian.ts';
import { BadArgumentsError } from '../../packages/race-lab/src/commands/arguments.ts';
import type { Terminal } from '../../packages/race-lab/src/commands/terminal.ts';
import { processorUse } from '../../packages/race-lab/src/experiments/processor-use.ts';
import { currentCommit } from '../../packages/race-lab/src/report/commit.ts';
import { checkWritable, writeReport } from '../../packages/race-lab/src/report/write-report.ts';
import type { GroupContext } from './groups/group.ts';
import { type GroupName, groupNames, groups } from './groups/index.ts';
import { judgedOn } from './ratio.ts';
import { type BenchReport, exitCodeOf, type GroupReport } from './report/report.ts';
import { linesOf } from './report/table.ts';
import { readSettings, startServers } from './servers.ts';

export interface BenchOptions {
  /** Undefined: all. */
  readonly only: readonly string[] | undefined;
  readonly rounds: number;
  readonly quick: boolean;
  readonly json: string | undefined;
}

/** How long it is looked at what else the machine does, in milliseconds. */
const LOOK_MS = 1_000;

/**
 * Starts private servers, measures the groups, prints what was seen.
 *
 * @returns the exit code
 * @throws BadArgumentsError  There is no such group, or the report could not be written; nothing was started.
 * @throws LeftBehindError    Something could not be cleared away.
 */
export async function benchCommand(
  options: BenchOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const names = groupsNamed(options.only);
  if (options.json !== undefined) await checkWritable(options.json);
  const startedAt = new Date();
  const processorsUsed = processorUse();
  await sleep(LOOK_MS, undefined, { signal });
  const processorsBefore = processorsUsed().mean;

  const report = await guarded(async (guardian) => {
    const stop = AbortSignal.any([signal, guardian.lost]);
    terminal.progress('starting servers');
    const servers = await startServers(guardian, stop);
    const { rounds, quick } = options;
    const progress = (text: string) => terminal.progress(text);
    const { directory } = guardian;
    const context: GroupContext = {
      ...{ servers, guardian, directory, rounds, quick, signal: stop, progress },
    };
    const settings = await readSettings(servers);
    const measured: GroupReport[] = [];
    for (const name of names) measured.push(await groups[name](context));
    return {
      schema: 'pawl-bench/1',
      commit: await currentCommit(),
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
      command: `npm run bench -- ${argumentsOf(options)}`,
      ...{ quick, rounds, processorsBefore, servers: settings },
      machine: { processors: cpus().length, model: cpus()[0]?.model ?? '', node: process.version },
      groups: measured,
      ratios: judgedOn(processorsBefore, Object.assign({}, ...measured.map(({ ratios }) => ratios))),
    } satisfies BenchReport;
  });
  terminal.progress('');
  terminal.print(...linesOf(report));
  // Last, so that a disk that is full costs the file and not the evidence.
  if (options.json !== undefined) await writeReport(options.json, report);
  return exitCodeOf(report);
}

/** Whatever `work` starts under the guardian has ended by the time that this settles. @throws LeftBehindError */
async function guarded<Result>(work: (guardian: Guardian) => Promise<Result>): Promise<Result> {
  const guardian = await startGuardian();
  let result: Result;
  try {
    result = await work(guardian);
  } catch (error) {
    const problems = await guardian.end();
    if (problems.length > 0) throw new LeftBehindError(problems, { cause: error });
    throw error;
  }
  const problems = await guardian.end();
  if (problems.length > 0) throw new LeftBehindError(problems);
  return result;
}

function groupsNamed(only: readonly string[] | undefined): readonly GroupName[] {
  if (only === undefined) return groupNames;
  const unknown = only.filter((name) => !groupNames.some((known) => known === name));
  if (unknown.length > 0) {
    throw new BadArgumentsError(
      `--only must name groups of ${groupNames.join(', ')}, got "${unknown.join(', ')}"`,
    );
  }
  return groupNames.filter((name) => only.includes(name));
}

function argumentsOf({ only, rounds, quick }: BenchOptions): string {
  return [
    ...(only === undefined ? [] : [`--only ${only.join(',')}`]),
    `--rounds ${rounds}`,
    ...(quick ? ['--quick'] : []),
  ].join(' ');
}
