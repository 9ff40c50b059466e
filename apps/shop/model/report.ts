import type { Broken, Explored } from './explore.ts';
import type { Mutant } from './mutant.ts';

const LONGEST_TRACE = 120;

/** What was found of the rules as they are. */
export interface Exploration {
  readonly schedules: number;
  readonly steps: number;
  readonly configurations: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly broken: Broken | undefined;
}

export interface MutantSearch {
  readonly mutant: string;
  readonly harm: string;
  readonly schedules: number;
  readonly broken: Broken | undefined;
}

/** What `--json` writes. */
export interface Report {
  readonly schema: 'pawl-model/1';
  readonly seed: number;
  readonly exploration: Exploration | undefined;
  readonly mutants: readonly MutantSearch[];
}

export function searched({ name, harm }: Mutant, { schedules, broken }: Explored): MutantSearch {
  return { mutant: name, harm, schedules, broken };
}

/** Nothing was violated, and every mutant was found. */
export function isAsExpected({ exploration, mutants }: Report): boolean {
  return exploration?.broken === undefined && mutants.every(({ broken }) => broken !== undefined);
}

export function explorationText({ schedules, steps, configurations, counts, broken }: Exploration): string {
  const seen = Object.entries(counts)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([what, times]): readonly string[] => [grouped(times), what]);
  const lines = [
    `${grouped(schedules)} schedules of ${(steps / schedules).toFixed(0)} steps in ${grouped(configurations)} configurations; seen:`,
    ...aligned(seen, 'right'),
    '',
    broken === undefined ? 'No invariant was violated.' : `VIOLATED: ${brokenText(broken)}`,
  ];
  return `${lines.join('\n')}\n`;
}

export function mutantsText(searches: readonly MutantSearch[]): string {
  const rows = searches.map(({ mutant, schedules, broken }): readonly string[] => {
    if (broken === undefined) return [mutant, 'NOT FOUND', `in ${grouped(schedules)}`, ''];
    const { invariant, detail } = broken.violation;
    return [mutant, `after ${grouped(schedules)}`, invariant, detail];
  });
  return `${aligned([['without the rule', 'found', 'violated', 'how'], ...rows], 'left').join('\n')}\n`;
}

export function brokenText({ violation, schedule, trace }: Broken): string {
  const lines = [
    `${violation.invariant}: ${violation.detail}`,
    `  in ${JSON.stringify(schedule.configuration)}`,
    ...abridged(trace).map((line) => `    ${line}`),
  ];
  return lines.join('\n');
}

/** What never comes to rest goes on alike. */
function abridged(trace: readonly string[]): readonly string[] {
  const left = trace.length - LONGEST_TRACE;
  return left <= 0 ? trace : [...trace.slice(0, LONGEST_TRACE), `… and ${left} more`];
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}

function aligned(rows: readonly (readonly string[])[], side: 'left' | 'right'): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return side === 'right' && column === 0 ? cell.padStart(width) : cell.padEnd(width);
    });
    return `  ${cells.join('  ')}`.trimEnd();
  });
}
