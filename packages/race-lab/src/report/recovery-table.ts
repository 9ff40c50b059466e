import { recoveryFaultTitles } from '../experiments/recovery-faults.ts';
import { type Column, type Grid, gridOf, latencyOf, seen } from './columns.ts';
import type { RecoveryReport, RunReport } from './report.ts';

const columns: readonly Column<RunReport>[] = [
  { title: 'cell', of: of(({ cell }) => cell) },
  { title: 'gateway', of: ({ gateway }) => gateway },
  { title: 'orders', of: ({ orders }) => String(orders) },
  { title: 'completed', of: of(({ completed }) => String(completed)) },
  { title: 'released', of: of(({ released }) => String(released)) },
  { title: 'refunded', of: of(({ refunded }) => String(refunded)) },
  { title: 'captures', of: ({ ledger }) => String(ledger?.captures ?? '–') },
  { title: 'went wrong', of: of(wrongOf) },
  { title: 'took ms', of: of(({ tookMs }) => String(tookMs ?? '–')) },
  { title: 'left ms', of: of(({ leftMs }) => String(leftMs ?? '–')) },
  { title: '200 p50/p95 ms', of: ({ latencyMs }) => latencyOf(latencyMs.ok) },
  { title: 'seen', of: seen },
];

/** Cells of the recovery experiment, a line each. */
export function recoveryGridOf(reports: readonly RunReport[]): Grid {
  return gridOf(columns, reports);
}

/** How the figures of these cells are to be read, and what went wrong in those that are no failpoint, a line each. */
export function recoveryLines(reports: readonly RunReport[]): string[] {
  if (reports[0]?.experiment !== 'recovery') return [];
  const titles = reports.flatMap(({ recovery }) => {
    const title = recovery && recoveryFaultTitles[recovery.cell];
    return title ? [`${recovery.cell}: ${title}`] : [];
  });
  return [
    'took: from the death, or from the last thing that went wrong, until the last order was settled; left: of the time that was promised.',
    ...new Set(titles),
  ];
}

/** What was struck in all, what took longest, and what the control showed. */
export function recoveryRemarksOf(ran: readonly RunReport[]): string[] {
  const cells = ran.flatMap(({ recovery, orders }) => (recovery === null ? [] : [{ ...recovery, orders }]));
  const failpoints = cells.filter(({ kind }) => kind === 'failpoint');
  const struck = failpoints.filter(({ struckAt }) => struckAt !== null);
  const [longest] = cells.toSorted((a, b) => (b.tookMs ?? 0) - (a.tookMs ?? 0));
  const missed = failpoints.filter(({ struckAt }) => struckAt === null).map(({ cell }) => cell);
  const sum = (figure: (cell: RecoveryReport) => number) =>
    cells.reduce((total, cell) => total + figure(cell), 0);
  const controls = ran.flatMap(({ control }) => {
    if (control === null) return [];
    return [
      control.raced ? `The control breaks: ${control.showed}.` : `THE CONTROL HELD: ${control.showed}.`,
    ];
  });
  return [
    ...new Set(controls),
    `${sum(({ completed }) => completed)} orders were paid, ${sum(({ released }) => released)} given back, ` +
      `${sum(({ refunded }) => refunded)} refunded; ${sum(({ faults }) => faults)} requests to the provider went wrong.`,
    ...(failpoints.length === 0
      ? []
      : [`${struck.length} of ${failpoints.length} failpoints were passed, and an instance died at each.`]),
    ...missed.map((name) => `NO INSTANCE DIED AT ${name}.`),
    ...(longest === undefined
      ? []
      : [`The longest took ${longest.tookMs} ms: ${longest.cell} (${longest.path}).`]),
  ];
}

function of(figure: (recovery: RecoveryReport) => string): (report: RunReport) => string {
  return ({ recovery }) => (recovery === null ? '–' : figure(recovery));
}

function wrongOf({ kind, struckAt, faults }: RecoveryReport): string {
  if (struckAt === null) return `${faults} requests`;
  return kind === 'standstill' ? 'stood still' : 'died';
}
