/** When a lock ends by itself in these races, in milliseconds: short, so that a run that has to wait for it takes a second. */
export const LEASE_MS = 500;
/** Longer than a queue may stand still, and shorter than anybody should wait for the report. */
const WAIT_MS = 5_000;

/** Settings of the shop's instances in these races. */
export const lockShopEnv = {
  DISTRIBUTED_LOCK_LEASE_MS: String(LEASE_MS),
  DISTRIBUTED_LOCK_WAIT_MS: String(WAIT_MS),
  COUPON_REDIS_LOCK_LEASE_MS: String(LEASE_MS),
  COUPON_REDIS_LOCK_WAIT_MS: String(WAIT_MS),
} as const;

/** Those of the payment provider: a charge outlasts a fault, and the time after which waiters look for themselves. */
export const lockSandboxEnv = { LATENCY_MIN_MS: '250', LATENCY_MAX_MS: '400' } as const;
