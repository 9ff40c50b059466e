import type { Cluster } from '../cluster/cluster.ts';
import type { ControlReport, CouponReport, RunReport } from '../report/report.ts';
import type { CouponCell } from './coupon-cells.ts';
import { floodCoupon } from './coupon-flood.ts';
import { type CouponRun, type CouponRunControl, expectedOf, raceForCoupon } from './coupon-run.ts';
import type { CouponScenarioName } from './coupon-scenario-names.ts';
import { couponScenarios } from './coupon-scenarios.ts';
import { COUPON_CONTROL, type CouponStrategyName, couponStrategies } from './coupon-strategies.ts';
import { isMissing, type RunContext, type RunSetting, runContext, skippedReport } from './run-context.ts';
import { watchingServers } from './server-watch.ts';

/** Raced before anything counts: a process that has just started answers its first requests late. */
const WARM_UP: CouponScenarioName = 'workers-32';
/** How often a control is raced that was not asked for, until it breaks: it is made to, and once is proof. */
const CONTROL_TRIES = 3;

export interface CouponRaceOptions {
  /** In the order in which they are reported. */
  cells: readonly CouponCell[];
  setting: RunSetting;
  signal: AbortSignal;
  onProgress(run: CouponRun, answered: number): void;
}

/**
 * Races the strategies for coupons, one run after the other on one cluster, each for a coupon of its own. The control is
 * raced before, in every scenario that there is.
 *
 * @throws ServerLostError, PreparationError, the signal's reason, and whatever keeps the evidence from being read.
 */
export async function raceCoupons(cluster: Cluster, options: CouponRaceOptions): Promise<RunReport[]> {
  return watchingServers(cluster, options.signal, async (ended) =>
    raceAll(cluster, options, await runContext(cluster, ended)),
  );
}

async function raceAll(
  cluster: Cluster,
  { cells, setting, signal, onProgress }: CouponRaceOptions,
  context: RunContext,
): Promise<RunReport[]> {
  let coupons = 0;
  const plan = (strategy: CouponStrategyName, scenario: CouponScenarioName): CouponRun => ({
    experiment: 'coupon',
    strategy,
    scenario,
    couponName: `race ${++coupons}: ${strategy}, ${scenario}`,
    orders: null,
    fanout: scenario === 'flood' ? 1 : couponScenarios[scenario].fanout,
    setting,
    database: context.database,
  });
  const race = async (strategy: CouponStrategyName, scenario: CouponScenarioName) => {
    const run = plan(strategy, scenario);
    const control: CouponRunControl = { signal, onProgress: (answered) => onProgress(run, answered) };
    control.onProgress(0);
    return scenario === 'flood'
      ? floodCoupon(cluster, { ...run, scenario }, context, control)
      : raceForCoupon(cluster, { ...run, scenario }, context, control);
  };
  const raceControl = async (scenario: CouponScenarioName, tries: number, untilBroken: boolean) => {
    const reports: RunReport[] = [];
    while (reports.length < tries && !(untilBroken && reports.some(broke))) {
      reports.push(await race(COUPON_CONTROL, scenario));
    }
    return reports;
  };

  await race(COUPON_CONTROL, WARM_UP);
  const controls = new Map<CouponScenarioName, { runs: RunReport[]; control: ControlReport }>();
  for (const scenario of new Set(cells.map((cell) => cell.scenario))) {
    const asked = cells.find((cell) => cell.strategy === COUPON_CONTROL && cell.scenario === scenario);
    const runs = await raceControl(scenario, asked?.runs ?? CONTROL_TRIES, asked === undefined);
    controls.set(scenario, { runs, control: controlOf(runs) });
  }
  const reports: RunReport[] = [];
  for (const { strategy, scenario, runs } of cells) {
    const known = controls.get(scenario);
    if (known === undefined) continue;
    const { control } = known;
    if (strategy === COUPON_CONTROL) {
      reports.push(...known.runs.map((report) => withControl(report, control)));
    } else if (isMissing(cluster, couponStrategies[strategy])) {
      const skipped = skippedReport(cluster, plan(strategy, scenario));
      reports.push({ ...skipped, control, expected: expectedOf(cluster, { strategy, scenario }) });
    } else {
      for (let nth = 1; nth <= runs; nth++) {
        reports.push(withControl(await race(strategy, scenario), control));
      }
    }
  }
  return reports;
}

function broke(report: RunReport): boolean {
  return report.verdict === 'fail' && report.asExpected;
}

/** @param runs  Of the control in one scenario, at least one. */
function controlOf(runs: readonly RunReport[]): ControlReport {
  const shown = runs.find(broke) ?? runs[0];
  return {
    strategy: COUPON_CONTROL,
    orders: null,
    ordersRequestedTwice: null,
    raced: runs.some(broke),
    showed: shown?.coupon ? `without a guard ${harmOf(shown.coupon)}` : 'without a guard nothing was raced',
  };
}

function harmOf({ scenario, initial, dailyQuota, issued, remaining, ...coupon }: CouponReport): string {
  switch (scenario) {
    case 'workers-5':
    case 'workers-32':
      return `${issued} were issued of ${initial} and ${remaining} are left`;
    case 'crowd':
      return `${issued} were issued of ${initial}`;
    case 'duplicates':
      return `${coupon.membersWithSeveral} of ${coupon.members} members got several`;
    case 'opening':
      return `${issued} were issued on a day of ${dailyQuota}`;
    case 'flood':
      return `the member who flooded got ${coupon.flood?.got.join(', ')}`;
  }
}

/** A run is worth what its control is: where that held, nothing was proved. */
function withControl(report: RunReport, control: ControlReport): RunReport {
  if (control.raced) return { ...report, control };
  const unknownBecause = `the control held in ${report.coupon?.scenario}: ${control.showed}`;
  return { ...report, control, verdict: 'unknown', asExpected: false, unknownBecause };
}
