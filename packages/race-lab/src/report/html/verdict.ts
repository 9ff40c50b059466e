import { exitCodeOf, exitCodes, type RunReport } from '../report.ts';
import { runNameOf } from '../table.ts';
import { plural } from './figures.ts';

/** What a race showed, in one sentence, and whether it is what was expected. */
export interface Verdict {
  kind: 'as-expected' | 'not-as-expected' | 'unknown';
  sentence: string;
}

export function verdictOf(reports: readonly RunReport[]): Verdict {
  const ran = reports.filter(({ skipped }) => skipped === null);
  const skipped = reports.length - ran.length;
  const left = skipped === 0 ? '' : ` ${plural(skipped, 'run was', 'runs were')} skipped.`;
  switch (exitCodeOf(reports)) {
    case exitCodes.asExpected:
      return { kind: 'as-expected', sentence: `As expected: ${tallyOf(ran)}.${left}` };
    case exitCodes.notAsExpected:
      return { kind: 'not-as-expected', sentence: `Not as expected: ${surpriseOf(ran)}.${left}` };
    default:
      return { kind: 'unknown', sentence: `Unknown: ${doubtOf(ran)}.${left}` };
  }
}

function tallyOf(ran: readonly RunReport[]): string {
  const broken = ran.filter(({ verdict }) => verdict === 'fail');
  const hold = `${ran.length - broken.length} of ${plural(ran.length, 'run')} hold`;
  if (broken.length === 0) return hold;
  return `${hold}, and ${broken.length} ${broken.length === 1 ? 'breaks' : 'break'} as published (${namesOf(broken)})`;
}

function surpriseOf(ran: readonly RunReport[]): string {
  const surprising = ran.filter(({ verdict, asExpected }) => verdict !== 'unknown' && !asExpected);
  const broken = surprising.filter(({ verdict, expected }) => verdict === 'fail' && expected === 'holds');
  const others = surprising.filter((run) => !broken.includes(run));
  return [
    ...(broken.length === 0 ? [] : [`${namesOf(broken)} should hold and broke`]),
    ...(others.length === 0 ? [] : [`${namesOf(others)} did not break as published`]),
  ].join('; ');
}

function doubtOf(ran: readonly RunReport[]): string {
  if (ran.length === 0) return 'nothing was run';
  const doubtful = ran.find(({ verdict }) => verdict === 'unknown');
  if (doubtful !== undefined)
    return `${runNameOf(doubtful)}: ${doubtful.unknownBecause ?? 'no reason is given'}`;
  return 'the control did not go wrong as it must, so nothing was proved';
}

function namesOf(runs: readonly RunReport[]): string {
  return [...new Set(runs.map(runNameOf))].join('; ');
}
