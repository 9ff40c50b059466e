/** What is done to a coupon in one run: see `coupon-scenarios.ts`, and `flood` in `coupon-flood.ts`. */
export const couponScenarioNames = [
  'workers-5',
  'workers-32',
  'crowd',
  'duplicates',
  'opening',
  'flood',
] as const;

export type CouponScenarioName = (typeof couponScenarioNames)[number];

/** What each does, in a line. */
export const couponScenarioTitles: Readonly<Record<CouponScenarioName, string>> = {
  'workers-5': '100 members take one each of 1000, by 5 workers',
  'workers-32': '100 members take one each of 1000, by 32 workers',
  crowd: '1000 members ask for 100 at the same instant',
  duplicates: '50 members, each of whom asks ten times at once, of 1000',
  opening: '200 members, 100 of them VIPs, ask from before the opening on; for VIPs, 50 a day, of 1000',
  flood: 'one member on 1000 connections; others ask for the same coupon every 20 ms',
};
