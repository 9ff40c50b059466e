import { couponScenarioTitles } from '../experiments/coupon-figures.ts';
import { type Column, type Grid, gridOf, latenciesOf, rangeOf, seenOf } from './columns.ts';
import type { CouponReport, FloodReport, RunReport } from './report.ts';

/** The runs of one strategy in one scenario, at least one. */
type Cell = readonly RunReport[];

const columns: readonly Column<Cell>[] = [
  { title: 'strategy', of: (cell) => cell[0]?.strategy ?? '' },
  { title: 'scenario', of: (cell) => cell[0]?.coupon?.scenario ?? '–' },
  { title: 'issued', of: range(({ issued }) => issued) },
  { title: 'left', of: range(({ remaining }) => remaining) },
  { title: 'sold out', of: range(({ soldOut }) => soldOut) },
  { title: 'other refusals', of: otherRefusals },
  { title: 'failed', of: (cell) => rangeOf(cell.filter(({ skipped }) => skipped === null).map(failuresOf)) },
  { title: 'retries', of: range(({ retries }) => retries) },
  { title: 'all p50/p95 ms', of: latenciesOf },
  { title: 'issues/s', of: range(({ issuesPerSecond }) => issuesPerSecond) },
  { title: 'expected', of: (cell) => cell[0]?.expected ?? '' },
  { title: 'seen', of: seenOf },
];

/** Runs of the coupon experiment: one line for each strategy in each scenario, however often it was run. */
export function couponGridOf(reports: readonly RunReport[]): Grid {
  return gridOf(columns, cellsOf(reports));
}

/** What the scenarios of these runs are, a line each. */
export function scenarioLines(reports: readonly RunReport[]): string[] {
  const scenarios = new Set(reports.flatMap(({ coupon }) => coupon?.scenario ?? []));
  return [...scenarios].map((scenario) => `${scenario}: ${couponScenarioTitles[scenario]}`);
}

/** How close the requests came; what the control showed in each scenario; how updates were lost, once a strategy; how the flood went. */
export function couponRemarksOf(ran: readonly RunReport[]): string[] {
  const cells = cellsOf(ran);
  const controls = cells.flatMap(([first]) => {
    if (!first?.control || !first.coupon) return [];
    const { raced, showed } = first.control;
    const { scenario } = first.coupon;
    return [`${raced ? `The race is real in ${scenario}` : `THE CONTROL HELD in ${scenario}`}: ${showed}.`];
  });
  const strategies = [...Map.groupBy(ran, ({ strategy }) => strategy).values()];
  return [
    ...spreadLines(ran),
    ...new Set(controls),
    ...strategies.flatMap(lostUpdateOf),
    ...cells.flat().flatMap(floodLines),
    ...cells.flat().flatMap(({ strategy, coupon }) => {
      const broken = coupon?.stockLooks?.brokenBecause ?? null;
      return broken === null || coupon === null
        ? []
        : [`${strategy}, ${coupon.scenario}: the stock was not watched to the end: ${broken}`];
    }),
  ];
}

function cellsOf(reports: readonly RunReport[]): Cell[] {
  const groups = Map.groupBy(reports, ({ strategy, coupon }) => `${strategy} ${coupon?.scenario}`);
  return [...groups.values()];
}

/** In each scenario whose requests are released together, how close they came: the worst run. */
function spreadLines(ran: readonly RunReport[]): string[] {
  const scenarios = Map.groupBy(ran, ({ coupon }) => coupon?.scenario);
  return [...scenarios].flatMap(([scenario, runs]) => {
    const spreads = runs.flatMap(({ arrivalSpreadMs }) => arrivalSpreadMs?.p50 ?? []);
    if (spreads.length === 0) return [];
    const whose = scenario === 'crowd' ? 'all requests' : 'the requests of one member';
    return [
      `In ${scenario} ${whose} arrived within ${Math.max(...spreads).toFixed(1)} ms at the median (worst run).`,
    ];
  });
}

function lostUpdateOf(runs: readonly RunReport[]): string[] {
  const found = runs.find(({ coupon }) => coupon?.interleaving);
  if (!found?.coupon?.interleaving) return [];
  const { strategy, coupon } = found;
  const lines = found.coupon.interleaving.map((line) => `  ${line}`);
  return [`${strategy} lost an update, ${coupon.scenario}:`, ...lines];
}

function floodLines({ strategy, coupon }: RunReport): string[] {
  if (!coupon?.flood) return [];
  const { connections, asked, got, rounds, p99Ratio, limit } = coupon.flood;
  const p99s = rounds.map(
    ({ unloaded, loaded }) => `${unloaded?.p99.toFixed(1) ?? '–'} → ${loaded?.p99.toFixed(1) ?? '–'} ms`,
  );
  const times =
    p99Ratio === null
      ? 'not known'
      : `×${p99Ratio.median.toFixed(2)} at the median, ×${p99Ratio.min.toFixed(2)} at least`;
  const slowest = Math.max(0, ...rounds.flatMap(({ loaded }) => loaded?.max ?? []));
  const busy = rounds.map(({ processors }) => `${(processors.loaded.mean * 100).toFixed(0)} %`);
  return [
    `${strategy}, flood: one member asked ${asked} times over ${connections} connections and has ${got.join(', ')} of each round’s coupons.`,
    `  p99 of the others without and beside it: ${p99s.join(', ')}: ${times} (less than ×${limit} is allowed); the slowest answer beside it took ${slowest.toFixed(0)} ms; processors busy for ${busy.join(', ')}.`,
  ];
}

/** The figure of all runs: one, or from the least to the most. */
function range(figure: (coupon: CouponReport) => number | null): (cell: Cell) => string {
  return (cell) => rangeOf(cell.flatMap(({ coupon }) => (coupon && figure(coupon)) ?? []));
}

/** Answers that are neither a coupon nor a refusal, and requests without an answer. */
function failuresOf({ responses }: RunReport): number {
  const failed = Object.entries(responses).filter(([status]) => status !== '200' && !/^4\d\d$/.test(status));
  return failed.reduce((total, [, count]) => total + count, 0);
}

function otherRefusals(cell: Cell): string {
  const all = cell.flatMap(({ coupon }) => (coupon ? [allRefusals(coupon)] : []));
  const codes = new Set(all.flatMap((refusals) => Object.keys(refusals)));
  codes.delete('sold-out');
  const shown = [...codes].map((code) => `${code} ×${rangeOf(all.map((refusals) => refusals[code] ?? 0))}`);
  return shown.join(', ') || '–';
}

function allRefusals({ refusals, flood }: CouponReport): Record<string, number> {
  const floods: FloodReport['refusals'] = flood?.refusals ?? {};
  const codes = [...new Set([...Object.keys(refusals), ...Object.keys(floods)])];
  return Object.fromEntries(codes.map((code) => [code, (refusals[code] ?? 0) + (floods[code] ?? 0)]));
}
