import type { DistributedLocks, Done, Refused } from 'pawl';
import type { Declined, NotSent, PaymentProvider } from '../../payment/provider.ts';
import type { ShopDatabase, ShopSql } from '../../store/database.ts';
import type { Trace } from '../../trace.ts';
import type { PublishRef } from '../publish.ts';
import type { PublishedKeys } from './published-keys.ts';

/** What a strategy works with. */
export interface PurchaseTools {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  readonly provider: PaymentProvider;
  /** Absent where there is no Redis; the strategies that need it are not offered then. */
  readonly publishedKeys: PublishedKeys | undefined;
  readonly locks: DistributedLocks;
  readonly settings: {
    /** How long to wait for another racer's row lock, in milliseconds. */
    readonly lockWaitMs: number;
    readonly retryAttempts: number;
    /** In milliseconds. */
    readonly retryPauseMs: number;
  };
  /** Something went wrong that the answer does not show, after the provider had been asked. */
  onTrouble(message: string, details: Readonly<Record<string, unknown>>): void;
}

/** A member's confirmation of an order's payment. It has been checked: the order is his, and the amount is right. */
export interface Purchase extends PublishRef {
  readonly memberId: number;
  readonly paymentKey: string;
  readonly amount: number;
  readonly currency: string;
  readonly testCode: string | undefined;
  readonly trace: Trace;
}

/** The payment may have been captured: the order stays PENDING, and shows it. */
export interface UnknownPurchase {
  readonly outcome: 'unknown';
  readonly code: string;
}

export type PurchaseOutcome =
  | Done<{ readonly billId: number }>
  | Refused
  | Declined
  | NotSent
  | UnknownPurchase;

export type PurchaseStrategy = (tools: PurchaseTools) => (purchase: Purchase) => Promise<PurchaseOutcome>;
