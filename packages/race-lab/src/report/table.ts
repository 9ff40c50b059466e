import type { Percentiles } from '../history/percentiles.ts';
import { inOneLine } from '../locks/statement-text.ts';
import type { LockWaitExample, LockWaitsReport } from '../locks/watch.ts';
import { type Column, type Grid, gridOf, inLines, latencyOf, seen } from './columns.ts';
import { couponGridOf, couponRemarksOf, scenarioLines } from './coupon-table.ts';
import { faultLines, lockGridOf, lockRemarksOf } from './lock-table.ts';
import { recoveryGridOf, recoveryLines, recoveryRemarksOf } from './recovery-table.ts';
import type { RunReport } from './report.ts';

const MOST_PATTERNS = 4;
/** Of a statement in the remarks, in characters. */
const EXAMPLE_LENGTH = 120;

const purchaseColumns: readonly Column<RunReport>[] = [
  { title: 'strategy', of: ({ strategy }) => strategy },
  { title: 'answers (200/400/other × orders)', of: patternsOf },
  { title: 'asked', of: ({ ledger }) => String(ledger?.requests ?? '–') },
  { title: 'captured', of: ({ ledger }) => String(ledger?.captures ?? '–') },
  { title: 'all p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.all) },
  { title: '200 p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.ok) },
  { title: 'expected', of: ({ expected }) => expected },
  { title: 'seen', of: seen },
];

const bystanderColumns: readonly Column<RunReport>[] = [
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

/** The runs of one experiment as a table: one line each under the titles, and of coupons and locks one for all runs of a kind. */
export function tableOf(reports: readonly RunReport[]): string {
  return inLines(tableGridOf(reports));
}

/** The same, before it is laid out. */
export function tableGridOf(reports: readonly RunReport[]): Grid {
  switch (reports[0]?.experiment) {
    case 'coupon':
      return couponGridOf(reports);
    case 'lock':
      return lockGridOf(reports);
    case 'recovery':
      return recoveryGridOf(reports);
    case 'bystanders':
      return gridOf(bystanderColumns, reports);
    default:
      return gridOf(purchaseColumns, reports);
  }
}

/** What all runs share, in the lines above the table. */
export function headingOf(reports: readonly RunReport[]): string[] {
  const [report] = reports;
  if (report === undefined) return [];
  const { experiment, instances, store, seed, commit } = report;
  const door = report.frontDoor === 'nginx' ? 'behind nginx' : 'in rotation, without nginx';
  // Nobody pays for a coupon.
  const gateways = [...new Set(reports.map((one) => one.gateway))].join(' / ');
  const provider = experiment === 'coupon' ? '' : `gateway ${gateways}, `;
  return [
    `${loadOf(report)}, ${instances} ${instances === 1 ? 'instance' : 'instances'} ${door}, ` +
      `store ${store}, ${provider}seed ${seed}, commit ${commit}`,
    databaseLine(report.database),
    ...scenarioLines(reports),
    ...faultLines(reports),
    ...recoveryLines(reports),
  ];
}

/** What was done to the shop in such a race. */
export function loadOf({ experiment, orders, fanout, bystanders }: RunReport): string {
  switch (experiment) {
    case 'purchase':
      return `${orders} orders × ${fanout} simultaneous confirmations`;
    case 'bystanders':
      return `${bystanders?.purchasesInFlight ?? 'no'} purchases under way at a provider that takes 1 s, a GET /ping and a POST /api/orders every 20 ms`;
    case 'coupon':
      return 'First-come coupons';
    case 'lock':
      return 'Locks under faults';
    case 'recovery':
      return `The durable purchase under crashes and faults, ${fanout} simultaneous confirmations of each order`;
  }
}

/** The isolation that a session gets which asks for none; the shop's ask for their own. */
const SERVER_DEFAULTS = ['transaction_isolation', 'default_transaction_isolation'];

export function databaseLine(database: RunReport['database']): string {
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
  const remarks = ownRemarksOf(ran);
  for (const { strategy, bystanders } of ran) {
    if (bystanders === null || bystanders.measured === 1) continue;
    remarks.push(`${strategy} was measured ${bystanders.measured} times, because bystanders were late.`);
  }
  for (const runs of Map.groupBy(ran, ({ strategy }) => strategy).values()) {
    const [longest] = runs
      .flatMap((run) => (run.lockWaits === null ? [] : [{ of: runNameOf(run), waits: run.lockWaits }]))
      .sort((a, b) => (b.waits.longestMs ?? 0) - (a.waits.longestMs ?? 0));
    if (longest !== undefined) remarks.push(...lockWaitsText(longest.of, longest.waits));
  }
  const skipped = reports.flatMap((run) =>
    run.skipped === null ? [] : [`${run.strategy} was skipped: ${run.skipped}`],
  );
  remarks.push(...new Set(skipped));
  for (const [name, runs] of Map.groupBy(
    ran.filter((run) => !run.asExpected),
    runNameOf,
  )) {
    const [first, ...others] = runs;
    if (first === undefined) continue;
    const { violations, unknownBecause } = first;
    if (unknownBecause !== null) remarks.push(`${name}: unknown, because ${unknownBecause}`);
    for (const { invariant, count, first: example } of violations) {
      remarks.push(`${name}: ${invariant} was violated ${count} times, first: ${example}`);
    }
    if (others.length > 0) remarks.push(`${name}: ${others.length} more of its runs were not as expected.`);
  }
  return remarks;
}

function ownRemarksOf(ran: readonly RunReport[]): string[] {
  switch (ran[0]?.experiment) {
    case 'coupon':
      return couponRemarksOf(ran);
    case 'lock':
      return lockRemarksOf(ran);
    case 'recovery':
      return recoveryRemarksOf(ran);
    default:
      return raceRemarksOf(ran);
  }
}

/** How close the requests of an order came, and whether the control raced. */
function raceRemarksOf(ran: readonly RunReport[]): string[] {
  const remarks: string[] = [];
  const spreads = ran.flatMap(({ arrivalSpreadMs }) => arrivalSpreadMs ?? []);
  if (spreads.length > 0) {
    const worst = (of: 'p50' | 'p99') => Math.max(...spreads.map((spread) => spread[of])).toFixed(1);
    remarks.push(
      `The requests of one order arrived within ${worst('p50')} ms at the median and ${worst('p99')} ms at p99 (worst run).`,
    );
  }
  const [control] = ran.flatMap((report) => report.control ?? []);
  if (control === undefined) return remarks;
  const { raced, showed } = control;
  if (ran[0]?.experiment === 'bystanders') {
    remarks.push(raced ? `The pool was under load: ${showed}.` : `THE CONTROL HELD: ${showed}.`);
  } else remarks.push(raced ? `The race is real: ${showed}.` : `THE CONTROL DID NOT RACE: ${showed}.`);
  return remarks;
}

/** A run, where one strategy has several. */
export function runNameOf({ strategy, coupon, lock, recovery }: RunReport): string {
  const kind = coupon?.scenario ?? lock?.fault ?? recovery?.cell;
  return kind === undefined ? strategy : `${strategy}, ${kind}`;
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

function percentOf(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(0)} %`;
}

function tailOf(latency: Percentiles | null | undefined): string {
  if (latency === null || latency === undefined) return '–';
  return [latency.p50, latency.p99, latency.max].map((ms) => ms.toFixed(0)).join('/');
}
