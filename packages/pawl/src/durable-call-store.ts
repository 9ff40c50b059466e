import type { GroupedCallClaims, GroupedCallSettlements, Settlement } from './durable-call-group.ts';
import type {
  AttemptRef,
  ClaimedAttempt,
  DurableCall,
  DurableCallChange,
  Json,
  NewDurableCall,
} from './durable-call-record.ts';
import type { GroupRefusal } from './group-commit.ts';
import type { Answer, IdempotencyRecordId, StoredAnswer } from './idempotency-record.ts';
import type { StoreKind } from './observer.ts';
import type { Done, Refused } from './outcome.ts';

/**
 * Where the records of durable calls are kept, beside the rows of those who call.
 *
 * Every method is one atomic step: a transaction, or one statement. Leases and moments are measured by the store's own clock,
 * and names and keys are told apart byte by byte. All throw `StoreError`; after one with `effect: 'unknown'` the step may have
 * been taken.
 */
export interface DurableCallStore<Transaction> {
  /** For those who watch. */
  readonly kind?: StoreKind;
  /**
   * Runs `claim` in a transaction, then inserts the record that it gives, with fence 1. A refusal rolls back whole.
   *
   * @returns refused, `already-done`, when the record's id, or the attempt at its subject, is there: rolled back as well.
   */
  claim<Reason extends Refused>(
    claim: (transaction: Transaction) => Promise<Done<NewDurableCall> | Reason>,
  ): Promise<Done<DurableCall> | Reason | Refused<'already-done'>>;
  /**
   * Runs `decide` in a transaction, then changes the record as it says, if `fence` is still its fence and it is not settled.
   * A refusal rolls back whole. The rows of the caller are locked before the record, here as in `claim` and `reopen`.
   *
   * @returns refused, `fenced`, when somebody else has taken it over or settled it: rolled back as well.
   */
  settle<Reason extends Refused>(
    id: IdempotencyRecordId,
    fence: number,
    decide: (transaction: Transaction) => Promise<Done<DurableCallChange> | Reason>,
  ): Promise<Done<void> | Reason | Refused<'fenced'>>;
  /** The same without rows of the caller's. @returns whether it was changed. */
  change(id: IdempotencyRecordId, fence: number, change: DurableCallChange): Promise<boolean>;
  /**
   * Runs `decide` in a transaction, then lets the attempt that is `done` be compensated: with the next fence, the lease, and
   * try 1 of the compensation.
   *
   * @returns refused, `wrong-state`, when there is no such attempt, or it is not done: rolled back as well.
   */
  reopen<Reason extends Refused>(
    attempt: AttemptRef,
    decide: (
      transaction: Transaction,
    ) => Promise<Done<{ readonly value: DurableCall['request']; readonly leaseMs: number }> | Reason>,
  ): Promise<Done<DurableCall> | Reason | Refused<'wrong-state'>>;
  /** Runs `give` in a transaction, then forgets the record. A refusal rolls back whole. @returns as `settle`. */
  forget(
    id: IdempotencyRecordId,
    fence: number,
    give: (transaction: Transaction) => Promise<void>,
  ): Promise<Done<void> | Refused<'fenced'>>;
  /**
   * Takes over at most `limit` calls of this name that are not settled and whose lease is over, those first whose lease was over
   * first, each with its next fence and a new lease. Those that others are at are passed over. One that was `calling` is
   * `unknown` from then on.
   */
  takeOver(name: string, limit: number, leaseMs: number): Promise<readonly DurableCall[]>;
  find(id: IdempotencyRecordId): Promise<DurableCall | undefined>;
  /** Forgets at most `limit` settled calls whose retention is over. @returns how many. */
  sweep(limit: number): Promise<number>;
  /** Steps of many callers in transactions that they share. Absent: each has its own. */
  readonly groups?: DurableCallGroups;
}

/** `claim` and `settle` as steps that many callers take in one transaction, each with an outcome of his own. */
export interface DurableCallGroups {
  /**
   * Of the calls of this name. As `DurableCallStore.claim`; refused too, `already-done`, when a later attempt at its subject is there.
   */
  claims<Claim, Request extends Json, Objection extends Refused>(
    name: string,
    grouped: GroupedCallClaims<Claim, Request, Objection>,
  ): ClaimGrouped<Claim, Request, Objection>;
  /** As `DurableCallStore.settle`, for those that are `done`. */
  settlements<Request extends Json, Value extends Json>(
    name: string,
    grouped: GroupedCallSettlements<Request, Value>,
  ): SettleGrouped<Request, Value>;
}

export type ClaimGrouped<Claim, Request extends Json, Objection extends Refused> = (
  item: ClaimItem<Claim, Request>,
) => Promise<Done<DurableCall> | Objected<Objection> | KnownCall | Refused<'already-done' | GroupRefusal>>;

export type SettleGrouped<Request extends Json, Value extends Json> = (
  item: SettleItem<Request, Value>,
) => Promise<Done<Answer> | Objected<Refused> | Refused<'fenced' | GroupRefusal>>;

/** Refused because there is a call with this id. */
export interface KnownCall extends Refused<'already-done'> {
  /** Undefined: it is to be read. */
  readonly found: DurableCall | undefined;
}

/** Refused by the caller's own rows. */
export interface Objected<Objection extends Refused> extends Refused {
  readonly objection: Objection;
}

export interface ClaimItem<Claim, Request extends Json> {
  readonly claim: Claim;
  readonly id: IdempotencyRecordId;
  /** What is recorded once it is claimed. What it throws is the caller's, and nothing of his is written. */
  record(claimed: ClaimedAttempt<Request>): NewDurableCall;
}

export interface SettleItem<Request extends Json, Value extends Json> {
  readonly settlement: Settlement<Request, Value>;
  readonly id: IdempotencyRecordId;
  /** The record must show it, and not be settled. */
  readonly fence: number;
  /** What is recorded with the answer. As `ClaimItem.record`. */
  completed(answer: Answer): { readonly answer: StoredAnswer; readonly retentionMs: number };
}
