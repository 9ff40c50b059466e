import { readFileSync } from 'node:fs';
import type { RaceDefinition } from '../endpoint/define-race.ts';
import { endpointReport, exitCodeOfEndpoint } from '../endpoint/endpoint-report.ts';
import { endpointText } from '../endpoint/endpoint-text.ts';
import { targetFinder } from '../endpoint/find-target.ts';
import { loadRaceFile } from '../endpoint/load-race-file.ts';
import { type EndpointRace, raceEndpoint } from '../endpoint/race-endpoint.ts';
import { requestFrom, tellsRoundsApart } from '../endpoint/request-template.ts';
import { runStep } from '../endpoint/run-step.ts';
import { checkWritable, writeReport } from '../report/write-report.ts';
import { BadArgumentsError } from './arguments.ts';
import type { EndpointArguments, EndpointSubject } from './endpoint-arguments.ts';
import { optionName, raceEndpointAgain, titleOf } from './race-endpoint-again.ts';
import type { Terminal } from './terminal.ts';

export const endpointDefaults = { fanout: 20, rounds: 200, seconds: 10 } as const;

/** What only the form with a method and a URL has; a race file says it itself. */
const URL_OPTIONS = ['data', 'header', 'expectOneSuccess', 'expectAtMost', 'firstRound'] as const;

/** For a race file's `close`, in milliseconds: a pool waits for its clients, and one of them may never come back. */
const CLOSE_LIMIT_MS = 5_000;

/**
 * Races somebody's endpoint, which runs already, and prints what was seen. No cluster is started. A race file's
 * code runs in this process: what it leaves open would keep the process running.
 *
 * @returns the exit code: 0 not caught, 1 caught, 2 unknown
 * @throws BadArgumentsError  The arguments or the race file cannot be raced. Of a race file, `prepare` may have run.
 * @throws the signal's reason  when aborted; what was released by then may have taken effect.
 */
export async function raceEndpointCommand(
  subject: EndpointSubject,
  given: EndpointArguments,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  if (given.json !== undefined) await checkWritable(given.json);
  const ca = given.ca === undefined ? undefined : readText('--ca', given.ca);
  const { definition, isRepeated } = await described(subject, given, signal);
  const title = titleOf(subject);
  const fanout = given.fanout ?? definition.fanout ?? endpointDefaults.fanout;
  checkBreakable(definition, fanout);
  const race: EndpointRace = {
    ...{ definition, fanout, isRepeated, signal },
    expect: definition.expect ?? { successes: 1 },
    firstRound: given.firstRound ?? 1,
    rounds: given.rounds ?? definition.rounds ?? endpointDefaults.rounds,
    seconds: given.seconds ?? definition.seconds ?? endpointDefaults.seconds,
    targetOf: targetFinder({
      ...{ http: given.http, ca, insecure: given.insecure ?? false, fanout },
      mine: { host: given.targetIsMine, yes: given.yesRaceIt ?? false },
    }),
    onProgress: (rounds, successes) =>
      terminal.progress(`racing ${title}: round ${rounds}, ${successes} succeeded`),
  };
  try {
    const seen = await raceEndpoint(race);
    const report = endpointReport(seen, race, { subject: title, again: raceEndpointAgain(subject, given) });
    terminal.progress('');
    terminal.print(...endpointText(report, isRepeated), `Again: ${report.again}`);
    if (given.json !== undefined) await writeReport(given.json, [report]);
    return exitCodeOfEndpoint(report);
  } finally {
    terminal.progress('');
    await close(definition, terminal);
  }
}

/** What its file could not close is told, and changes no verdict. */
async function close(definition: RaceDefinition<unknown>, terminal: Terminal): Promise<void> {
  try {
    await runStep('close', () => definition.close?.(), { limitMs: CLOSE_LIMIT_MS });
  } catch (error) {
    terminal.print(error instanceof Error ? error.message : String(error));
  }
}

interface Described {
  definition: RaceDefinition<unknown>;
  isRepeated: boolean;
}

async function described(
  subject: EndpointSubject,
  given: EndpointArguments,
  signal: AbortSignal,
): Promise<Described> {
  if ('file' in subject) {
    const unfit = URL_OPTIONS.find((name) => given[name] !== undefined);
    if (unfit !== undefined) {
      throw new BadArgumentsError(
        `${optionName(unfit)} has no meaning with a race file, which says it itself`,
      );
    }
    const definition = await loadRaceFile(subject.file, signal);
    const isRepeated = definition.prepare === undefined && typeof definition.request !== 'function';
    return { definition, isRepeated };
  }
  if (given.expectOneSuccess && given.expectAtMost !== undefined) {
    throw new BadArgumentsError('--expect-one-success and --expect-at-most exclude each other');
  }
  const { method, url } = subject;
  const template = { method, url, headers: given.header ?? [], data: dataOf(given.data) };
  return {
    definition: {
      request: (_context, member) => requestFrom(template, member),
      expect: given.expectAtMost === undefined ? { successes: 1 } : { atMost: given.expectAtMost },
    },
    isRepeated: !tellsRoundsApart(template),
  };
}

function dataOf(data: string | undefined): string | undefined {
  return data?.startsWith('@') ? readText('--data', data.slice(1)) : data;
}

function readText(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new BadArgumentsError(`${option}: ${file} cannot be read: ${code}`);
  }
}

/** @throws BadArgumentsError  Nothing that can happen would be too much. */
function checkBreakable({ expect, check }: RaceDefinition<unknown>, fanout: number): void {
  const most = Math.max(...Object.values(expect ?? { successes: 1 }));
  if (most < fanout || check !== undefined) return;
  throw new BadArgumentsError(
    `${most} of ${fanout} requests may succeed, and there is no check: nothing could be caught; expect fewer, or race more at once`,
  );
}
