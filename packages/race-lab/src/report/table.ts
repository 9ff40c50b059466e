import type { Percentiles } from '../history/percentiles.ts';
import type { RunReport } from './report.ts';

const MOST_PATTERNS = 4;

const COLUMNS: readonly { title: string; of(report: RunReport): string }[] = [
  { title: 'strategy', of: ({ strategy }) => strategy },
  { title: 'answers (200/400/other × orders)', of: patternsOf },
  { title: 'asked', of: ({ ledger }) => String(ledger?.requests ?? '–') },
  { title: 'captured', of: ({ ledger }) => String(ledger?.captures ?? '–') },
  { title: 'all p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.all) },
  { title: '200 p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.ok) },
  { title: 'expected', of: ({ expected }) => expected },
  { title: 'seen', of: seen },
];

/** The runs as a table: one line each under the titles. */
export function tableOf(reports: readonly RunReport[]): string {
  const rows = [
    COLUMNS.map(({ title }) => title),
    ...reports.map((report) => COLUMNS.map(({ of }) => of(report))),
  ];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const [titles = [], ...body] = rows;
  return [line(titles), widths.map((width) => '─'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}

/** What all runs share, in a line above the table. */
export function headingOf(report: RunReport): string {
  const { orders, fanout, instances, store, gateway, seed, commit } = report;
  const door = report.frontDoor === 'nginx' ? 'behind nginx' : 'in rotation, without nginx';
  return (
    `${orders} orders × ${fanout} simultaneous confirmations, ${instances} ${instances === 1 ? 'instance' : 'instances'} ${door}, ` +
    `store ${store}, gateway ${gateway}, seed ${seed}, commit ${commit}`
  );
}

/** What the table has no room for: how close the requests came, and what went wrong first. */
export function remarksOf(reports: readonly RunReport[]): string[] {
  const ran = reports.filter(({ skipped }) => skipped === null);
  const remarks: string[] = [];
  const spreads = ran.flatMap(({ arrivalSpreadMs }) => arrivalSpreadMs ?? []);
  if (spreads.length > 0) {
    const worst = (of: 'p50' | 'p99') => Math.max(...spreads.map((spread) => spread[of])).toFixed(1);
    remarks.push(
      `The requests of one order arrived within ${worst('p50')} ms at the median and ${worst('p99')} ms at p99 (worst run).`,
    );
  }
  const [control] = ran.flatMap((report) => report.control ?? []);
  if (control !== undefined) {
    const asked = `without a guard the provider was asked twice for ${control.ordersRequestedTwice} of ${control.orders} orders`;
    remarks.push(control.raced ? `The race is real: ${asked}.` : `THE CONTROL DID NOT RACE: ${asked}.`);
  }
  for (const { strategy, skipped } of reports) {
    if (skipped !== null) remarks.push(`${strategy} was skipped: ${skipped}`);
  }
  for (const { strategy, violations, asExpected, unknownBecause } of ran) {
    if (asExpected) continue;
    if (unknownBecause !== null) remarks.push(`${strategy}: unknown, because ${unknownBecause}`);
    for (const { invariant, count, first } of violations) {
      remarks.push(`${strategy}: ${invariant} was violated ${count} times, first: ${first}`);
    }
  }
  return remarks;
}

function patternsOf({ patterns, responses }: RunReport): string {
  const entries = Object.entries(patterns ?? {});
  const shown = entries.slice(0, MOST_PATTERNS).map(([pattern, orders]) => `${pattern} ×${orders}`);
  const more = entries.length - shown.length;
  if (more > 0) shown.push(`+${more} more`);
  const unknown = responses['202'] === undefined ? '' : ` (202 ×${responses['202']})`;
  return `${shown.join(', ')}${unknown}` || '–';
}

function latencyOf(latency: Percentiles | null): string {
  return latency === null ? '–' : `${latency.p50.toFixed(0)}/${latency.p95.toFixed(0)}`;
}

function seen({ skipped, verdict, violations, asExpected }: RunReport): string {
  if (skipped !== null) return 'skipped';
  if (verdict === 'unknown') return 'UNKNOWN';
  const what =
    verdict === 'pass'
      ? 'holds'
      : `breaks ${violations.map(({ invariant, count }) => `${invariant}×${count}`).join(' ')}`;
  return asExpected ? what : `${what}  ← NOT AS EXPECTED`;
}
