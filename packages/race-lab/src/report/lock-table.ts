import { lockFaultTitles } from '../nemesis/lock-fault-names.ts';
import { type Column, type Grid, gridOf, latenciesOf, rangeOf, seenOf } from './columns.ts';
import type { LockReport, RunReport } from './report.ts';

/** The runs of one strategy under one fault, at least one. */
type Cell = readonly RunReport[];

const columns: readonly Column<Cell>[] = [
  { title: 'strategy', of: (cell) => cell[0]?.strategy ?? '' },
  { title: 'fault', of: (cell) => cell[0]?.lock?.fault ?? '–' },
  { title: 'struck', of: (cell) => countOf(cell, ({ did }) => did !== null) },
  { title: 'ok', of: (cell) => rangeOf(cell.filter(ran).map(({ responses }) => responses['200'] ?? 0)) },
  { title: 'refused or failed', of: refusals },
  { title: 'left+issued / captured', of: effects },
  { title: 'sections', of: range(({ sections }) => sections) },
  { title: 'two instances had it', of: (cell) => countOf(cell, ({ overlaps }) => overlaps > 0) },
  { title: 'resumed after ms', of: range(({ resumedAfterMs }) => rounded(resumedAfterMs)) },
  { title: 'stood still ms', of: standstills },
  { title: 'all p50/p95 ms', of: latenciesOf },
  { title: 'expected', of: (cell) => cell[0]?.expected ?? '' },
  { title: 'seen', of: seenOf },
];

/** Runs of the lock experiment: one line for each strategy under each fault, however often it was run. */
export function lockGridOf(reports: readonly RunReport[]): Grid {
  return gridOf(columns, cellsOf(reports));
}

/** What the locks of these runs are, and what the faults do, a line each. */
export function faultLines(reports: readonly RunReport[]): string[] {
  const faults = new Set(reports.flatMap(({ lock }) => lock?.fault ?? []));
  const [lease] = reports.flatMap(({ lock }) => lock?.leaseMs ?? []);
  return [
    ...(lease === undefined ? [] : [`A lock ends by itself after ${lease} ms.`]),
    ...[...faults].map((fault) => `${fault}: ${lockFaultTitles[fault]}`),
  ];
}

/** What the control showed, and how damage came about, once a strategy under each fault. */
export function lockRemarksOf(ran: readonly RunReport[]): string[] {
  const controls = ran.flatMap(({ control }) => {
    if (control === null) return [];
    return [control.raced ? `The race is real: ${control.showed}.` : `THE CONTROL HELD: ${control.showed}.`];
  });
  return [...new Set(controls), ...cellsOf(ran).flatMap(damageOf)];
}

function cellsOf(reports: readonly RunReport[]): Cell[] {
  return [...Map.groupBy(reports, ({ strategy, lock }) => `${strategy} ${lock?.fault}`).values()];
}

function damageOf(cell: Cell): string[] {
  const damaged = cell.filter(({ lock }) => lock?.damage);
  const [first] = damaged;
  if (!first?.lock?.damage) return [];
  const { strategy, lock } = first;
  const title = `${strategy}, ${lock.fault}: damage in ${damaged.length} of ${cell.length} runs; in the first ${lock.did}:`;
  return [title, ...first.lock.damage.map((line) => `  ${line}`)];
}

function ran({ skipped }: RunReport): boolean {
  return skipped === null;
}

function countOf(cell: Cell, counts: (lock: LockReport) => boolean): string {
  const locks = cell.flatMap(({ lock }) => lock ?? []);
  return locks.length === 0 ? '–' : `${locks.filter(counts).length}/${locks.length}`;
}

/** The figure of all runs: one, or from the least to the most. */
function range(figure: (lock: LockReport) => number | null): (cell: Cell) => string {
  return (cell) => rangeOf(cell.flatMap(({ lock }) => (lock && figure(lock)) ?? []));
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

function refusals(cell: Cell): string {
  const all = cell.flatMap(({ lock }) => (lock === null ? [] : [lock.refusals]));
  const codes = new Set(all.flatMap((one) => Object.keys(one)));
  const shown = [...codes].map((code) => `${code} ×${rangeOf(all.map((one) => one[code] ?? 0))}`);
  return shown.join(', ') || '–';
}

/** What the rows say of the stock, or the ledger of the order. */
function effects(cell: Cell): string {
  const stocks = cell.flatMap(({ lock }) => lock?.stock ?? []);
  if (stocks.length > 0) {
    return rangeOf(stocks.map(({ issued, remaining }) => issued + (remaining ?? 0)));
  }
  return rangeOf(cell.flatMap(({ ledger }) => ledger?.captures ?? []));
}

/** The longest of each run, and what is allowed. */
function standstills(cell: Cell): string {
  const [limit] = cell.flatMap(({ lock }) => lock?.standstillLimitMs ?? []);
  const longest = range(({ standstillMs }) => rounded(standstillMs))(cell);
  return limit === undefined ? longest : `${longest} (≤ ${limit})`;
}
