import type { DatabaseKind } from '../cluster/store.ts';
import { type CouponScenarioName, couponScenarioNames } from './coupon-scenario-names.ts';
import { type CouponStrategyName, couponStrategies, couponStrategyNames } from './coupon-strategies.ts';

/** A strategy's runs of a scenario. */
export interface CouponCell {
  strategy: CouponStrategyName;
  scenario: CouponScenarioName;
  runs: number;
}

/** What was asked for; undefined is what nobody has chosen. */
export interface CouponChoice {
  strategies: readonly CouponStrategyName[] | undefined;
  scenarios: readonly CouponScenarioName[] | undefined;
  runs: number;
  database: DatabaseKind;
}

/** The one that is flooded where nobody has chosen: the flood tests the shop's limit of a member, not the guard. */
const FLOODED: CouponStrategyName = 'conditional-update';

/** Which strategy is raced in which scenario, and how often; the floods last. Perhaps none. */
export function couponCells({ strategies, scenarios, runs, database }: CouponChoice): CouponCell[] {
  const cells = (strategies ?? couponStrategyNames).flatMap((strategy) => {
    const { onceIn, crawlsOn } = couponStrategies[strategy];
    const crawls = crawlsOn?.database === database;
    if (crawls && strategies === undefined) return [];
    const isWanted = (scenario: CouponScenarioName) => {
      if (onceIn !== undefined) return scenario === onceIn;
      if (scenario === 'flood') {
        return strategies === undefined ? strategy === FLOODED : scenarios !== undefined;
      }
      return scenarios !== undefined || !crawls || scenario === crawlsOn?.only;
    };
    return (scenarios ?? couponScenarioNames)
      .filter(isWanted)
      .map((scenario): CouponCell => ({ strategy, scenario, runs: onceIn === undefined ? runs : 1 }));
  });
  const floods = cells.filter(({ scenario }) => scenario === 'flood');
  return [...cells.filter((cell) => !floods.includes(cell)), ...floods];
}

/** What is not raced though it may have been meant, in a sentence each. */
export function leftOut({ strategies, scenarios, database }: CouponChoice): string[] {
  return (strategies ?? couponStrategyNames).flatMap((strategy) => {
    const { crawlsOn, onceIn } = couponStrategies[strategy];
    if (strategies !== undefined) {
      if (onceIn === undefined || scenarios?.includes(onceIn) !== false) return [];
      return [`${strategy} was left out: it is raced in ${onceIn} only.`];
    }
    if (crawlsOn?.database !== database) return [];
    return [`${strategy} was left out: ${crawlsOn.because}. Name it to race it in ${crawlsOn.only}.`];
  });
}
