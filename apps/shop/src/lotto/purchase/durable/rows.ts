import type { Done, Refused } from 'pawl';
import type { CapturedPayment, PaymentTransaction } from '../../../payment/provider.ts';
import type { PaymentOutcome } from '../../../store/database.ts';
import type { Bill } from '../../bill.ts';
import type { Actor } from '../../publish.ts';

/** One attempt to pay an order with one payment key. */
export interface PaymentAttempt {
  readonly orderId: string;
  readonly lottoPublishId: number;
  readonly memberId: number;
  readonly lottoRoundInfoId: number;
  readonly attempt: number;
  readonly paymentKey: string;
  /** On whose behalf the order's status changes. */
  readonly actor: Actor;
}

/** A member's wish to pay an order. */
export interface OrderClaim {
  readonly orderId: string;
  readonly lottoPublishId: number;
  readonly memberId: number;
  readonly paymentKey: string;
  /** What the member believes to pay, where he says so. */
  readonly amount: number | undefined;
  readonly actor: Actor;
}

/** What the provider's records and ours make of a capture. */
export type CaptureJudgement =
  /** It is the current attempt's, or has its purchase: nothing is to be done. */
  | { readonly judged: 'accounted-for' }
  /** No attempt will ever settle it. */
  | {
      readonly judged: 'stray';
      readonly lottoPublishId: number;
      readonly memberId: number;
      /** 0 where no record tells which attempt it was. */
      readonly attempt: number;
    }
  /** We have no such order. */
  | { readonly judged: 'unknown-order' }
  /** An order is PENDING with it, and no durable call will ever finish that: it was left by another strategy. */
  | { readonly judged: 'no-record' };

/**
 * What the durable purchase reads and writes in the shop's tables for one call alone, in as few statements as each database takes: what
 * is not written for many at once (`grouped-purchases.ts`), and the settlements of those who recover.
 *
 * All of it runs in a transaction of the caller's, and locks the order's row before the record of its durable call.
 */
export interface PurchaseRows<Transaction> {
  /**
   * PENDING → COMPLETE, with the purchase and its bill. Refused, `not-open`, when the round was drawn or called off
   * meanwhile, or the payment was taken for a stray one, and is being given back.
   */
  complete(
    transaction: Transaction,
    attempt: PaymentAttempt,
    payment: CapturedPayment,
  ): Promise<Done<Bill> | Refused<'not-open'>>;
  /**
   * PENDING → WAITING, with the number of the next attempt.
   *
   * @throws Error  It is not PENDING with this attempt, although its record says so: nothing of the transaction may stay.
   */
  release(transaction: Transaction, attempt: PaymentAttempt, note: ReleaseNote): Promise<void>;
  /** PENDING or COMPLETE → REFUNDING; the latter is refused, `not-open`, once the round is drawn or called off. */
  beginRefund(
    transaction: Transaction,
    attempt: PaymentAttempt,
    from: 'PENDING' | 'COMPLETE',
  ): Promise<Done<void> | Refused<'wrong-state' | 'not-open'>>;
  /** REFUNDING → REFUNDED, and the purchase with it where there is one. @throws Error  As `release`. */
  endRefund(transaction: Transaction, attempt: PaymentAttempt): Promise<void>;
  /** Judges a capture while nobody can change its order, and records it where it is a stray one. */
  judgeCapture(transaction: Transaction, capture: PaymentTransaction): Promise<CaptureJudgement>;
  /** Records that a stray capture was given back. */
  endStrayRefund(transaction: Transaction, paymentKey: string): Promise<void>;
}

export interface ReleaseNote {
  readonly outcome: Extract<PaymentOutcome, 'declined' | 'not-sent' | 'not-captured'>;
  readonly code: string | null;
}

/** The bill as it is read later, from what was written. */
export function billOf(
  { orderId, lottoPublishId, lottoRoundInfoId }: PaymentAttempt,
  { totalAmount, paymentKey, method }: CapturedPayment,
  bill: { readonly id: number; readonly created_at: Date },
): Bill {
  return {
    id: bill.id,
    purchase: { totalAmount, paymentKey, orderId, status: 'SUCCESS', purchaseProvider: 'TOSS', method },
    lottoPublish: {
      id: lottoPublishId,
      issued_at: bill.created_at,
      lotto_round_info_id: lottoRoundInfoId,
      status: 'COMPLETE',
    },
  };
}
