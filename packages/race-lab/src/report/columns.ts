import type { Percentiles } from '../history/percentiles.ts';
import type { RunReport } from './report.ts';

/** One column of a table whose lines are each about a `Subject`. */
export interface Column<Subject> {
  title: string;
  of(subject: Subject): string;
}

/** A line for each subject, under the titles. */
export function layOut<Subject>(columns: readonly Column<Subject>[], subjects: readonly Subject[]): string {
  const rows = [
    columns.map(({ title }) => title),
    ...subjects.map((subject) => columns.map(({ of }) => of(subject))),
  ];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const [titles = [], ...body] = rows;
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

export function violationsOf(violations: readonly { invariant: string; count: number }[]): string {
  return violations.map(({ invariant, count }) => `${invariant}×${count}`).join(' ');
}

export const UNEXPECTED = '← NOT AS EXPECTED';
