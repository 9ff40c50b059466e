/** The times of these races, in milliseconds: short, so that what has to wait for a session's end takes seconds. */
export const recoveryTimes = {
  /** How long a payment window lives. */
  sessionMs: 4_000,
  /** After its end, until what is not found was never captured. */
  marginMs: 1_000,
  /** Of the shop's client of the payment provider. */
  timeoutMs: 1_000,
  leaseMs: 1_500,
} as const;

/** It looks more often than the others, and takes more, so that it is the one that finds something. */
export const eagerEnv = { RECOVERY_EVERY_MS: '40', RECOVERY_MOST: '20' } as const;

/** It compares the provider's records with ours; nobody else does. */
export const reconcilingEnv = {
  RECONCILE_EVERY_MS: '200',
  RECONCILE_GRACE_MS: '100',
  RECONCILE_LOOK_BACK_MS: '60000',
} as const;

/** Settings of the shop's instances. */
export const recoveryShopEnv = {
  RECOVERY_EVERY_MS: '150',
  RECOVERY_PAUSE_MS: '100',
  RECOVERY_MAX_PAUSE_MS: '500',
  // So that one does not take all, and an instance that is to die over one finds one.
  RECOVERY_MOST: '4',
  PURCHASE_STRATEGY: 'durable',
  PAYMENT_SESSION_MS: String(recoveryTimes.sessionMs),
  PAYMENT_MARGIN_MS: String(recoveryTimes.marginMs),
  PAYMENT_TIMEOUT_MS: String(recoveryTimes.timeoutMs),
  PURCHASE_LEASE_MS: String(recoveryTimes.leaseMs),
} as const;

/** Those of the payment provider. */
export function recoverySandboxEnv({ replayErrors }: { replayErrors: boolean }): Record<string, string> {
  return {
    LATENCY_MIN_MS: '20',
    LATENCY_MAX_MS: '80',
    SESSION_MS: String(recoveryTimes.sessionMs),
    // A session that nobody opened before has no end that the shop could know.
    AUTO_SESSION: '0',
    REPLAY_ERRORS: replayErrors ? '1' : '0',
  };
}
