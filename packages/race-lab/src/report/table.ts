import type { Percentiles } from '../history/percentiles.ts';
import { inOneLine } from '../locks/statement-text.ts';
import type { LockWaitExample, LockWaitsReport } from '../locks/watch.ts';
import type { RunReport } from './report.ts';

const MOST_PATTERNS = 4;
/** Of a statement in the remarks, in characters. */
const EXAMPLE_LENGTH = 120;

interface Column {
  title: string;
  of(report: RunReport): string;
}

const purchaseColumns: readonly Column[] = [
  { title: 'strategy', of: ({ strategy }) => strategy },
  { title: 'answers (200/400/other × orders)', of: patternsOf },
  { title: 'asked', of: ({ ledger }) => String(ledger?.requests ?? '–') },
  { title: 'captured', of: ({ ledger }) => String(ledger?.captures ?? '–') },
  { title: 'all p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.all) },
  { title: '200 p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.ok) },
  { title: 'expected', of: ({ expected }) => expected },
  { title: 'seen', of: seen },
];

const bystanderColumns: readonly Column[] = [
  { title: 'strategy', of: ({ strategy }) => strategy },
  { title: 'paid/all orders', of: ({ responses, orders }) => `${responses['200'] ?? 0}/${orders}` },
  { title: '200 p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.ok) },
  { title: 'GET /ping p50/p99/max ms', of: ({ bystanders }) => tailOf(bystanders?.ping) },
  { title: 'POST /api/orders p50/p99/max ms', of: ({ bystanders }) => tailOf(bystanders?.orders) },
  {
    title: 'failed',
    of: ({ bystanders }) => (bystanders ? `${bystanders.failed.ping}+${bystanders.failed.orders}` : '–'),
  },
  { title: 'processors', of: ({ bystanders }) => percentOf(bystanders?.processors.mean) },
  { title: 'expected', of: ({ expected }) => expected },
  { title: 'seen', of: seen },
];

/** The runs of one experiment as a table: one line each under the titles. */
export function tableOf(reports: readonly RunReport[]): string {
  const columns = reports[0]?.experiment === 'bystanders' ? bystanderColumns : purchaseColumns;
  const rows = [
    columns.map(({ title }) => title),
    ...reports.map((report) => columns.map(({ of }) => of(report))),
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

/** What all runs share, in the lines above the table. */
export function headingOf(report: RunReport): string[] {
  const { experiment, orders, fanout, bystanders, instances, store, gateway, seed, commit } = report;
  const door = report.frontDoor === 'nginx' ? 'behind nginx' : 'in rotation, without nginx';
  const load =
    experiment === 'purchase'
      ? `${orders} orders × ${fanout} simultaneous confirmations`
      : `${bystanders?.purchasesInFlight ?? 'no'} purchases under way at a provider that takes 1 s, a GET /ping and a POST /api/orders every 20 ms`;
  return [
    `${load}, ${instances} ${instances === 1 ? 'instance' : 'instances'} ${door}, ` +
      `store ${store}, gateway ${gateway}, seed ${seed}, commit ${commit}`,
    databaseLine(report.database),
  ];
}

/** The isolation that a session gets which asks for none; the shop's ask for their own. */
const SERVER_DEFAULTS = ['transaction_isolation', 'default_transaction_isolation'];

function databaseLine(database: RunReport['database']): string {
  if (database === null) return 'The settings of the database could not be read.';
  const settings = Object.entries(database.settings).map(([name, value]) =>
    SERVER_DEFAULTS.includes(name) ? `server default isolation ${value}` : `${name}=${value}`,
  );
  const shop =
    database.shopIsolation === null ? '' : `; isolation of the shop ${database.shopIsolation.toUpperCase()}`;
  return `${database.product} ${database.version}: ${settings.join(', ')}${shop}`;
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
  if (control !== undefined && ran[0]?.experiment === 'bystanders') {
    const waited = `with ${control.strategy} the bystanders ${control.raced ? 'had to wait' : 'were not disturbed'}`;
    remarks.push(control.raced ? `The pool was under load: ${waited}.` : `THE CONTROL HELD: ${waited}.`);
  } else if (control !== undefined) {
    const asked = `without a guard the provider was asked twice for ${control.ordersRequestedTwice} of ${control.orders} orders`;
    remarks.push(control.raced ? `The race is real: ${asked}.` : `THE CONTROL DID NOT RACE: ${asked}.`);
  }
  for (const { strategy, bystanders } of ran) {
    if (bystanders === null || bystanders.measured === 1) continue;
    remarks.push(`${strategy} was measured ${bystanders.measured} times, because bystanders were late.`);
  }
  for (const { strategy, lockWaits } of ran) {
    if (lockWaits !== null) remarks.push(...lockWaitsText(strategy, lockWaits));
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

function lockWaitsText(strategy: string, waits: LockWaitsReport): string[] {
  const { samples, seen, longestMs, mostAtOnce, examples, server, brokenBecause } = waits;
  if (samples === 0 && brokenBecause !== null) {
    return [`${strategy}: the locks were not watched: ${brokenBecause}`];
  }
  const counted =
    server === null
      ? ''
      : ` The server counted ${server.waits} row-lock waits of ${server.waitedMs} ms in all.`;
  const found =
    longestMs === null
      ? `no wait for a lock was seen in ${samples} looks.`
      : `${seen} waits for locks were seen in ${samples} looks, at most ${mostAtOnce} at once, the longest ${longestMs} ms.`;
  return [
    `${strategy}: ${found}${counted}`,
    ...examples.map(exampleText),
    ...(brokenBecause === null
      ? []
      : [`${strategy}: the locks were not watched to the end: ${brokenBecause}`]),
  ];
}

function exampleText({ waiter, holder, holderIdleInTransaction, ...lock }: LockWaitExample): string {
  const index = lock.index === null ? '' : `, index ${lock.index}`;
  const held = holderIdleInTransaction ? 'idle in transaction' : (holder ?? 'not known');
  return (
    `  ${lock.waitedMs} ms for ${lock.mode ?? 'a lock'} on ${lock.table ?? 'an unknown table'}${index}: ` +
    `${inOneLine(waiter ?? 'not known', EXAMPLE_LENGTH)} | holder: ${inOneLine(held, EXAMPLE_LENGTH)}`
  );
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

function percentOf(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(0)} %`;
}

function tailOf(latency: Percentiles | null | undefined): string {
  if (latency === null || latency === undefined) return '–';
  return [latency.p50, latency.p99, latency.max].map((ms) => ms.toFixed(0)).join('/');
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
