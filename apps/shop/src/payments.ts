import type { StrictServer } from '@pawl/service-kit';
import type { DistributedLocks } from 'pawl';
import type { Settings } from './config.ts';
import type { Connections } from './connections.ts';
import { purchaseAnswers } from './http/purchase-answers.ts';
import { findPurchased } from './lotto/bill.ts';
import { type DurablePurchases, durablePurchases } from './lotto/purchase/durable/durable-purchases.ts';
import { reconcileLoop } from './lotto/purchase/durable/reconcile-loop.ts';
import { publishedKeys } from './lotto/purchase/published-keys.ts';
import { type Purchases, purchases } from './lotto/purchase/purchase.ts';

/** How an instance pays orders, and finishes what was left behind. */
export interface Payments {
  readonly pay: Purchases;
  readonly cancel: DurablePurchases['cancel'];
  /** Begins to finish what any instance left behind, and to compare the provider's records with ours. */
  start(): void;
  close(): Promise<unknown>;
}

export interface PaymentsOptions {
  readonly settings: Settings;
  readonly connections: Connections;
  readonly locks: DistributedLocks;
  /** In front of every key in Redis. */
  readonly redisPrefix: string;
  readonly log: StrictServer['log'];
}

export function openPayments({ settings, connections, locks, redisPrefix, log }: PaymentsOptions): Payments {
  const { db, sql, groups, provider, redis } = connections;
  const durable = durablePurchases({
    db,
    sql,
    groups,
    provider,
    answers: purchaseAnswers,
    serverName: settings.SERVER_NAME,
    settings: {
      leaseMs: settings.PURCHASE_LEASE_MS,
      sessionMs: settings.PAYMENT_SESSION_MS,
      marginMs: settings.PAYMENT_MARGIN_MS,
      isIdempotent: settings.PAYMENT_IDEMPOTENCY,
      together: settings.GROUP_COMMIT,
      lockWaitMs: Math.max(1, settings.LOCK_WAIT_MS),
      recovery: {
        everyMs: settings.RECOVERY_EVERY_MS,
        most: settings.RECOVERY_MOST,
        pauseMs: settings.RECOVERY_PAUSE_MS,
        maxPauseMs: settings.RECOVERY_MAX_PAUSE_MS,
      },
    },
    onEvent: ({ kind, call, code, cause }) => {
      const details = {
        err: cause,
        code,
        subject: call?.subject,
        attempt: call?.attempt,
        fence: call?.fence,
      };
      if (kind === 'unknown') log.warn(details, 'the outcome of a purchase is not known yet');
      else log.error(details, `a purchase could not be settled: ${kind}`);
    },
  });
  const reconciliation = reconcileLoop({
    provider,
    calls: durable.calls,
    rows: durable.rows,
    purchased: (paymentKeys) => findPurchased(db, paymentKeys),
    serverName: settings.SERVER_NAME,
    everyMs: settings.RECONCILE_EVERY_MS,
    graceMs: settings.RECONCILE_GRACE_MS,
    lookBackMs: settings.RECONCILE_LOOK_BACK_MS,
    onFound: (found) => log.error(found, 'payments were captured that no order waits for'),
    onTrouble: (cause) => log.error({ err: cause }, "the provider's records could not be compared"),
  });
  const pay = purchases({
    db,
    sql,
    provider,
    locks,
    publishedKeys:
      redis &&
      publishedKeys(redis.port, {
        ttlMs: settings.IDEMPOTENCY_TTL_MS,
        prefix: redisPrefix,
        onOutcomeNotStored: (event) => log.warn(event, 'an outcome could not be stored under its key'),
      }),
    durable,
    serverName: settings.SERVER_NAME,
    settings: {
      lockWaitMs: settings.LOCK_WAIT_MS,
      retryAttempts: settings.RETRY_ATTEMPTS,
      retryPauseMs: settings.RETRY_PAUSE_MS,
    },
    onTrouble: (message, details) => log.error(details, message),
  });
  return {
    pay,
    cancel: durable.cancel,
    start() {
      durable.calls.start();
      reconciliation.start();
    },
    close: () => Promise.all([durable.calls.close(), reconciliation.close()]),
  };
}
