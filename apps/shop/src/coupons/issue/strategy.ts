import type { DistributedLocks, Done, Refused } from 'pawl';
import type { ShopDatabase, ShopSql } from '../../store/database.ts';
import type { Trace } from '../../trace.ts';
import type { PublishedLocks } from './published-locks.ts';
import type { StockCounter } from './stock-counter.ts';

/** What a strategy works with. */
export interface IssueTools {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
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
    readonly retryAttempts: number;
    /** In milliseconds. */
    readonly retryPauseMs: number;
  };
  /** Something went wrong that the answer does not show. */
  onTrouble(message: string, details: Readonly<Record<string, unknown>>): void;
}

/** A member who asks for a coupon that exists. */
export interface Issue {
  readonly couponId: string;
  readonly memberId: number;
  /** The day that it counts for, `yyyy-mm-dd`, as it was when the member was admitted. */
  readonly day: string;
  /** On whose behalf the row is written. */
  readonly actor: { readonly strategy: string; readonly instance: string; readonly requestId: string };
  readonly trace: Trace;
}

/** A coupon that was handed out, and what it left. */
export interface Issued {
  readonly serial: number;
  readonly remaining: number;
  readonly issuedAt: Date;
}

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
  | 'contended';

export type IssueOutcome = Done<Issued> | Refused<IssueRefusal>;

/** @throws StoreError  `effect: 'unknown'` where the answer to the COMMIT was lost; a ConcurrencyFailure, where the strategy loses it. */
export type IssueStrategy = (tools: IssueTools) => (issue: Issue) => Promise<IssueOutcome>;
