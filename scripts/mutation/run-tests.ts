import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Guardian } from '../../packages/race-lab/src/cluster/guardian.ts';
import { hostEnv } from '../../packages/race-lab/src/cluster/host-env.ts';
import { readLogTail } from '../../packages/race-lab/src/cluster/log-tail.ts';

/** How long a test may take that sets no limit of its own, in milliseconds. */
export const TEST_LIMIT_MS = 10_000;
/** How long a whole run may take, in milliseconds: a mutation may be an endless loop, which no limit inside ends. */
const RUN_LIMIT_MS = 90_000;
const LOG_LINES = 15;

/** A copy of the checkout, in which one run of tests takes place at a time. */
export interface Workplace {
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
  readonly guardian: Guardian;
  /** What the tests see of the environment, beside the little that every process does. */
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** What became of one test. `absent`: none of that name ran, or several did; `why` is what the run said of it. */
export type TestResult =
  | { readonly state: 'passed' | 'failed'; readonly durationMs: number }
  | { readonly state: 'hung' }
  | { readonly state: 'absent'; readonly why: string };

/** The part of vitest's JSON report that is read here. */
interface JsonReport {
  testResults: {
    message: string;
    assertionResults: { ancestorTitles: string[]; title: string; status: string; duration?: number }[];
  }[];
}

/**
 * Runs these tests of one file, and no others, each known by its whole name.
 *
 * @throws what `signal` was aborted with; the run has ended by then.
 */
export async function runTests(
  { name, folder, guardian, env, signal }: Workplace,
  file: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, TestResult>> {
  signal.throwIfAborted();
  const [report, logFile] = [join(folder, 'report.json'), join(folder, 'output.log')];
  await Promise.all([report, logFile].map((old) => rm(old, { force: true })));
  const pattern = `^(${names.map(asPattern).join('|')})$`;
  const run = await guardian.spawn({
    name,
    command: process.execPath,
    // Without the cache of modules: a mutated one must not outlive its mutation.
    args: [
      join(folder, 'node_modules/vitest/vitest.mjs'),
      ...['run', file, '-t', pattern, '--fsModuleCache=false', `--testTimeout=${TEST_LIMIT_MS}`],
      ...['--reporter=json', `--outputFile=${report}`],
    ],
    env: { ...hostEnv(), NO_COLOR: '1', ...env },
    cwd: folder,
    logFile,
    stopSignal: 'SIGTERM',
  });
  const stop = () => void run.stop();
  signal.addEventListener('abort', stop);
  const limit = new AbortController();
  const outOfTime = delay(RUN_LIMIT_MS, 'hung' as const, { signal: limit.signal }).catch(() => undefined);
  const ended = await Promise.race([run.exited, outOfTime]);
  limit.abort();
  if (ended === 'hung') await run.stop();
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (ended === 'hung') return new Map(names.map((whole) => [whole, { state: 'hung' }]));
  const found = await readReport(report);
  if (found === undefined) {
    const why = await readLogTail(logFile, LOG_LINES);
    return new Map(names.map((whole) => [whole, { state: 'absent', why }]));
  }
  const { byName, why } = resultsIn(found);
  return new Map(names.map((whole) => [whole, byName.get(whole) ?? { state: 'absent', why }]));
}

/** Between the names of suites and the name of a test. */
const SEPARATOR = ' > ';

function asPattern(name: string): string {
  return name.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** Undefined where the run has ended before it could report. */
async function readReport(file: string): Promise<JsonReport | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as JsonReport;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function resultsIn({ testResults }: JsonReport): { byName: Map<string, TestResult>; why: string } {
  const byName = new Map<string, TestResult>();
  for (const { ancestorTitles, title, status, duration } of testResults.flatMap(
    (file) => file.assertionResults,
  )) {
    // The others of the file were passed over; so is one whose suite could not be set up.
    if (status !== 'passed' && status !== 'failed') continue;
    const whole = [...ancestorTitles, title].join(SEPARATOR);
    const result = { state: status, durationMs: duration ?? 0 } as const;
    byName.set(whole, byName.has(whole) ? { state: 'absent', why: 'several have this name' } : result);
  }
  return { byName, why: testResults.map(({ message }) => message).join('\n') };
}
