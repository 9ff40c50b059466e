import type { DistributedLocks, Done, Refused, SqlPort } from 'pawl';
import type { ShopDatabase, ShopSql } from '../../store/database.ts';
import type { Trace } from '../../trace.ts';
import type { Coupon } from '../coupon.ts';
import type { PublishedLocks } from './published-locks.ts';
import type { StockCounter } from './stock-counter.ts';

/** What a strategy works with. */
export interface IssueTools {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  /** The same database, over connections for group commit alone. */
  readonly groups: SqlPort;
  /** Absent where there is no Redis; the strategies that need it are not offered then. */
  readonly redis:
    | {
        readonly publishedLocks: PublishedLocks;
        readonly locks: DistributedLocks;
        readonly counter: StockCounter;
      }
    | undefined;
  readonly settings: {
    /** How long to wait for another's row lock, in milliseconds. */
    readonly lockWaitMs: number;
    /** Whether those who ask at the same time share a transaction, where the strategy lets them. */
    readonly together: boolean;
    readonly retryAttempts: number;
    /** In milliseconds. */
    readonly retryPauseMs: number;
  };
  /** Something went wrong that the answer does not show. */
  onTrouble(message: string, details: Readonly<Record<string, unknown>>): void;
}

/** A member who asks for a coupon. */
export interface IssueRequest {
  readonly couponId: string;
  readonly memberId: number;
  /** On whose behalf the row is written. */
  readonly actor: { readonly strategy: string; readonly instance: string; readonly requestId: string };
  readonly trace: Trace;
}

/** The same, of a coupon that exists, by a member who was admitted. */
export interface Issue extends IssueRequest {
  /** The day that it counts for, `yyyy-mm-dd`, as it was when the member was admitted. */
  readonly day: string;
}

/** A coupon that was handed out, and what it left. */
export interface Issued {
  readonly serial: number;
  readonly remaining: number;
  readonly issuedAt: Date;
}

/** The same, with the coupon as this issue left it. */
export type IssuedCoupon = Issued & { readonly coupon: Coupon };

/** Why a member gets none. */
export type IssueRefusal =
  | 'not-open'
  | 'not-eligible'
  | 'already-issued'
  | 'sold-out'
  | 'quota-reached'
  | 'in-progress'
  | 'lock-timeout'
  | 'fenced'
  | 'contended'
  | 'overloaded';

export type IssueOutcome = Done<Issued> | Refused<IssueRefusal>;

/** @throws StoreError  `effect: 'unknown'` where the answer to the COMMIT was lost; a ConcurrencyFailure, where the strategy loses it. */
export type IssueStrategy = (tools: IssueTools) => (issue: Issue) => Promise<IssueOutcome>;

export interface NoSuchCoupon {
  readonly outcome: 'objection';
  readonly objection: 'coupon-not-found';
}

/** What comes of a whole request. */
export type WholeOutcome = Done<IssuedCoupon> | Refused<IssueRefusal> | NoSuchCoupon;

/**
 * A strategy that decides all by itself, also whether there is such a coupon and whether the member is admitted: nobody looks before.
 *
 * @throws StoreError  as an `IssueStrategy`.
 */
export type WholeStrategy = (tools: IssueTools) => (request: IssueRequest) => Promise<WholeOutcome>;
