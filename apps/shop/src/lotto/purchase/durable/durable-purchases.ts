import {
  type Answer,
  type Done,
  type DurableCallEvent,
  type DurableCalls,
  done,
  durableCalls,
  type Refused,
  refused,
  type SqlPort,
  sqlDurableCallStore,
} from 'pawl';
import type { PaymentProvider } from '../../../payment/provider.ts';
import type { ShopDatabase, ShopSql, ShopTransaction } from '../../../store/database.ts';
import { findOrder, type Order } from '../../order.ts';
import { type Actor, moveStatus } from '../../publish.ts';
import type { Confirmation } from '../confirmation.ts';
import {
  attemptsBy,
  type ChargeRequest,
  type ChargeValue,
  type PurchaseAnswers,
  purchaseDefinition,
} from './definition.ts';
import { type ClaimRefused, groupedPurchases, type PurchaseClaim } from './grouped-purchases.ts';
import type { PaymentAttempt, PurchaseRows } from './rows.ts';
import { mysqlRows } from './rows-mysql.ts';
import { postgresRows } from './rows-postgres.ts';

export interface DurablePurchaseSettings {
  /** How long who pays may be silent before another instance takes over, in milliseconds; longer than a request to the provider. */
  readonly leaseMs: number;
  /** How long a payment window lives at the provider, in milliseconds; it was opened before the order was claimed. */
  readonly sessionMs: number;
  /** After its end, until nothing of it can come to light any more, in milliseconds. */
  readonly marginMs: number;
  /** Whether the provider honours idempotency keys. */
  readonly isIdempotent: boolean;
  /** Whether those who pay at the same time share transactions. */
  readonly together: boolean;
  /** How long an order is waited for that somebody has locked, in milliseconds, at least 1. */
  readonly lockWaitMs: number;
  readonly recovery: {
    readonly everyMs: number;
    readonly most: number;
    readonly pauseMs: number;
    readonly maxPauseMs: number;
  };
}

export interface DurablePurchasesOptions {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  /** The same database, over connections for group commit alone. */
  readonly groups: SqlPort;
  readonly provider: PaymentProvider;
  readonly answers: PurchaseAnswers;
  readonly serverName: string;
  readonly settings: DurablePurchaseSettings;
  /** Told of what the answers do not show. */
  onEvent(event: DurableCallEvent): void;
}

export type PurchaseCalls = DurableCalls<
  ShopTransaction,
  ChargeRequest,
  ChargeValue,
  PurchaseClaim,
  Refused<'wrong-state'>
>;

/** What a confirmation has come to: `answered` is final, and stored. */
export type DurablePurchaseOutcome =
  | { readonly outcome: 'answered'; readonly answer: Answer; readonly replayed: boolean }
  | { readonly outcome: 'pending' }
  | (Refused & { readonly code?: string; readonly why?: ClaimRefused['why'] });

export type CancelOutcome =
  | Done<{ readonly status: 'CANCELED' | 'REFUNDED' }>
  | { readonly outcome: 'pending' }
  | Refused<'in-progress' | 'not-open' | 'contended'>
  | { readonly outcome: 'not-found' };

export interface DurablePurchases {
  readonly calls: PurchaseCalls;
  readonly rows: PurchaseRows<ShopTransaction>;
  /** Refused, `wrong-state`: the order is not there, is not to be paid like this, or not now; `why`, where it is the order itself. */
  confirm(confirmation: Confirmation): Promise<DurablePurchaseOutcome>;
  /** Cancels an order: one that waits is given up, one that is paid is given back. */
  cancel(order: { orderId: string; memberId: number; requestId: string }): Promise<CancelOutcome>;
}

/** How often a cancellation looks again when the order has changed under its eyes. */
const LOOKS = 5;

/**
 * Purchases that end, whoever dies: claim, charge, settle, recover, refund (`definition.ts`).
 *
 * The record of the call is the record of the idempotency key too: of the member and the route, under the `Idempotency-Key`, or
 * else of the order too, under the payment key.
 */
export function durablePurchases(options: DurablePurchasesOptions): DurablePurchases {
  const { db, sql, serverName, settings } = options;
  const rows = sql.dialect.name === 'mysql' ? mysqlRows : postgresRows;
  const { leaseMs, recovery, isIdempotent, together, lockWaitMs } = settings;
  const grouped = groupedPurchases({
    dialect: sql.dialect,
    answers: options.answers,
    attemptOf: attemptsBy(serverName),
    finalAfterMs: settings.sessionMs + settings.marginMs,
  });
  const calls: PurchaseCalls = durableCalls(
    sqlDurableCallStore(sql, { groups: { sql: options.groups, together, lockWaitMs } }),
    { ...purchaseDefinition({ ...options, rows, isIdempotent }), grouped },
    { leaseMs, recovery, onEvent: options.onEvent },
  );
  const actor = (requestId: string): Actor => ({ strategy: 'durable', instance: serverName, requestId });

  /** COMPLETE → REFUNDING, and further if the provider answers. */
  async function giveBack(order: Order, requestId: string): Promise<CancelOutcome | undefined> {
    const paymentKey = order.payment?.paymentKey ?? '';
    const attempt: PaymentAttempt = { ...order, paymentKey, actor: actor(requestId) };
    const { orderId, amount, currency } = order;
    const value = { paymentKey, orderId, totalAmount: amount, currency, method: 'UNKNOWN' };
    const begin = (transaction: ShopTransaction) => rows.beginRefund(transaction, attempt, 'COMPLETE');
    const reopened = await calls.compensate(
      { subject: orderId, attempt: order.attempt },
      async (transaction) => {
        const begun = await begin(transaction);
        return begun.outcome === 'done' ? done({ value }) : begun;
      },
    );
    if (reopened.outcome !== 'refused') return refundOf(reopened);
    if (reopened.reason === 'not-open') return refused('not-open');
    // Somebody was faster; or it was paid in another way, and there is no record of its charge.
    const adopted = await calls.adopt(
      { scope: [`member:${order.memberId}`, 'cancel'], key: orderId },
      async (transaction) => {
        const begun = await begin(transaction);
        if (begun.outcome !== 'done') return begun;
        const { lottoPublishId, memberId, lottoRoundInfoId } = order;
        const request = { orderId, lottoPublishId, memberId, lottoRoundInfoId, paymentKey, amount, currency };
        return done({
          state: 'compensating' as const,
          subject: orderId,
          attempt: order.attempt,
          request: { ...request, attempt: order.attempt, requestId, isStray: false, testCode: null },
          value,
        });
      },
    );
    return adopted.outcome === 'refused' ? undefined : refundOf(adopted);
  }

  return {
    calls,
    rows,

    async confirm(confirmation) {
      const { memberId, paymentKey, lottoPublishId, orderId, amount, requestId, trace } = confirmation;
      const claim = { orderId, lottoPublishId, memberId, paymentKey, amount, requestId };
      const outcome = await calls.runGrouped(
        {
          ...requestName(confirmation),
          payload: JSON.stringify([lottoPublishId, orderId, paymentKey, amount ?? null]),
        },
        { ...claim, actor: actor(requestId), testCode: confirmation.testCode ?? null },
      );
      if (outcome.outcome === 'unknown') return { outcome: 'pending' };
      if (outcome.outcome === 'refused') return outcome;
      if (!outcome.replayed) trace.mark('committed');
      return { outcome: 'answered', answer: outcome.value, replayed: outcome.replayed };
    },

    async cancel({ orderId, memberId, requestId }) {
      for (let look = 0; look < LOOKS; look++) {
        const order = await findOrder(db, { orderId, memberId });
        if (order === undefined) return { outcome: 'not-found' };
        switch (order.status) {
          case 'WAITING': {
            const given = { orderId, lottoPublishId: order.lottoPublishId, actor: actor(requestId) };
            const moved = await sql.transaction((transaction) =>
              moveStatus(transaction, given, 'WAITING', 'CANCELED'),
            );
            if (moved.outcome === 'done') return done({ status: 'CANCELED' });
            break;
          }
          case 'COMPLETE': {
            const givenBack = await giveBack(order, requestId);
            if (givenBack !== undefined) return givenBack;
            break;
          }
          case 'PENDING':
            return refused('in-progress');
          case 'REFUNDING':
            return { outcome: 'pending' };
          case 'CANCELED':
          case 'REFUNDED':
            return done({ status: order.status }, { replayed: true });
        }
      }
      return refused('contended');
    },
  };
}

/** Where a client names no key, the payment is the request's name; for another order it is another request. */
function requestName({ memberId, orderId, paymentKey, idempotencyKey }: Confirmation) {
  const scope = [`member:${memberId}`, 'POST /api/tickets'];
  if (idempotencyKey !== undefined) return { scope, key: idempotencyKey };
  return { scope: [...scope, orderId], key: paymentKey };
}

function refundOf({ outcome }: { readonly outcome: 'done' | 'unknown' }): CancelOutcome {
  return outcome === 'done' ? done({ status: 'REFUNDED' }) : { outcome: 'pending' };
}
