import type { CouponScenarioName } from './coupon-scenario-names.ts';

/** What is given out in a scenario, and how many ask for it. */
export interface CouponFigures {
  stock: number;
  dailyQuota: number | null;
  /** Members who ask. */
  members: number;
  /** Those of them who may have one; null: the coupon is for everybody. */
  vips: number | null;
  /** How many requests each member sends at once. */
  fanout: number;
  /** In how many milliseconds the coupon opens, at least; null: it is open. */
  opensInMs: number | null;
}

const everybodyOnce = {
  ...{ stock: 1000, dailyQuota: null, members: 100, vips: null, fanout: 1, opensInMs: null },
} as const satisfies CouponFigures;

export const couponFigures = {
  'workers-5': { ...everybodyOnce, workers: 5 },
  'workers-32': { ...everybodyOnce, workers: 32 },
  crowd: { ...everybodyOnce, stock: 100, members: 1000 },
  duplicates: { ...everybodyOnce, members: 50, fanout: 10 },
  opening: { ...everybodyOnce, members: 200, vips: 100, dailyQuota: 50, opensInMs: 2_000 },
} as const satisfies Record<Exclude<CouponScenarioName, 'flood'>, CouponFigures & { workers?: number }>;

const { crowd, duplicates, opening } = couponFigures;

const byWorkers = ({ members, stock, workers }: CouponFigures & { workers: number }) =>
  `${members} members take one each of ${stock}, by ${workers} workers`;

/** What each scenario does, in a line. The figures of the flood are in what is said of it. */
export const couponScenarioTitles: Readonly<Record<CouponScenarioName, string>> = {
  'workers-5': byWorkers(couponFigures['workers-5']),
  'workers-32': byWorkers(couponFigures['workers-32']),
  crowd: `${crowd.members} members ask for ${crowd.stock} at the same instant`,
  duplicates: `${duplicates.members} members, each of whom asks ${duplicates.fanout} times at once, of ${duplicates.stock}`,
  opening:
    `${opening.members} members, ${opening.vips} of them VIPs, ask from before the opening on; ` +
    `for VIPs, ${opening.dailyQuota} a day, of ${opening.stock}`,
  flood: 'one member on very many connections; others ask for the same coupon meanwhile',
};
