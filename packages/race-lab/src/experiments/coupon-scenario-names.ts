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
