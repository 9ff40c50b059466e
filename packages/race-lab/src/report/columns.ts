import type { Percentiles } from '../history/percentiles.ts';
import type { RunReport } from './report.ts';

/** One column of a table whose lines are each about a `Subject`. */
export interface Column<Subject> {
  title: string;
  of(subject: Subject): string;
}

/** What a table says: a row for each subject, with a cell for each title. */
export interface Grid {
  titles: readonly string[];
  rows: readonly (readonly string[])[];
}

export function gridOf<Subject>(columns: readonly Column<Subject>[], subjects: readonly Subject[]): Grid {
  return {
    titles: columns.map(({ title }) => title),
    rows: subjects.map((subject) => columns.map(({ of }) => of(subject))),
  };
}

/** A line for each subject, under the titles. */
export function layOut<Subject>(columns: readonly Column<Subject>[], subjects: readonly Subject[]): string {
  return inLines(gridOf(columns, subjects));
}

/** A line for each row, under the titles. */
export function inLines({ titles, rows: body }: Grid): string {
  const rows = [titles, ...body];
  const widths = titles.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(titles), widths.map((width) => '─'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}

export function latencyOf(latency: Percentiles | null): string {
  return latency === null ? '–' : `${latency.p50.toFixed(0)}/${latency.p95.toFixed(0)}`;
}

/** What was seen of one run, and whether it was expected. */
export function seen({ skipped, verdict, violations, asExpected }: RunReport): string {
  if (skipped !== null) return 'skipped';
  if (verdict === 'unknown') return 'UNKNOWN';
  const what = verdict === 'pass' ? 'holds' : `breaks ${violationsOf(violations)}`;
  return asExpected ? what : `${what}  ${UNEXPECTED}`;
}

function violationsOf(violations: readonly { invariant: string; count: number }[]): string {
  return violations.map(({ invariant, count }) => `${invariant}×${count}`).join(' ');
}

const UNEXPECTED = '← NOT AS EXPECTED';

/** One figure, or from the least to the most. */
export function rangeOf(figures: readonly number[]): string {
  if (figures.length === 0) return '–';
  // What happens less than ten times a second is told more exactly.
  const digits = figures.every((figure) => Number.isInteger(figure) || figure >= 10) ? 0 : 1;
  const [least, most] = [Math.min(...figures).toFixed(digits), Math.max(...figures).toFixed(digits)];
  return least === most ? least : `${least}–${most}`;
}

/** The median and p95 of all runs: one pair, or from the least to the most of each. */
export function latenciesOf(cell: readonly RunReport[]): string {
  const all = cell.flatMap(({ latencyMs }) => latencyMs.all ?? []);
  if (all.length < 2) return latencyOf(all[0] ?? null);
  return `${rangeOf(all.map(({ p50 }) => p50))}/${rangeOf(all.map(({ p95 }) => p95))}`;
}

/** What was seen of runs of one kind, and whether it was expected. */
export function seenOf(cell: readonly RunReport[]): string {
  const [first] = cell;
  if (first === undefined) return '';
  if (cell.length === 1 || first.skipped !== null) return seen(first);
  const count = (verdict: RunReport['verdict']) => cell.filter((report) => report.verdict === verdict).length;
  const broken = cell.flatMap(({ verdict, violations }) => (verdict === 'fail' ? violations : []));
  const kinds = [...Map.groupBy(broken, ({ invariant }) => invariant)].map(([invariant, some]) => ({
    invariant,
    count: some.reduce((total, violation) => total + violation.count, 0),
  }));
  const parts = [
    count('pass') > 0 ? `${count('pass')} of ${cell.length} hold` : '',
    count('fail') > 0 ? `${count('fail')} of ${cell.length} break ${violationsOf(kinds)}` : '',
    count('unknown') > 0 ? `${count('unknown')} of ${cell.length} UNKNOWN` : '',
  ].filter((part) => part !== '');
  const unexpected = cell.some(({ verdict, asExpected }) => verdict !== 'unknown' && !asExpected);
  return `${parts.join(', ')}${unexpected ? `  ${UNEXPECTED}` : ''}`;
}
