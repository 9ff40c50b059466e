import type { ClaimedAttempt, Json, OutwardCall } from './durable-call-record.ts';
import type { HELD } from './group-commit.ts';
import type { Answer } from './idempotency-record.ts';
import type { Done, Refused } from './outcome.ts';
import type { SqlResult, SqlStatement } from './ports.ts';

/**
 * How the claims of many callers, and their settlements, are written in transactions that they share: see `groupCommit`. What is
 * decided about one is what would have been decided had he come alone.
 */
export interface GroupedDurableCall<
  Claim,
  Request extends Json,
  Value extends Json,
  Objection extends Refused,
> {
  readonly claims: GroupedCallClaims<Claim, Request, Objection>;
  readonly settlements: GroupedCallSettlements<Request, Value>;
}

export interface GroupedCallClaims<Claim, Request extends Json, Objection extends Refused> {
  /** What the effect is to be upon. Who comes for one that somebody else has locked waits for it apart from the others. */
  subjectOf(claim: Claim): string;
  /** As `GroupWork.sizeOf`. */
  sizeOf?(claim: Claim): number;
  /** As `GroupWork.read`: locks the rows of the subjects, and reads what decides in later statements. */
  read(claims: readonly Claim[], wait: boolean): readonly SqlStatement[];
  /**
   * Decides, from what was read. Must not change anything outside: it may run again for the same claims.
   *
   * @param waited  As `GroupWork.decide`.
   */
  decide(
    claims: readonly Claim[],
    read: readonly SqlResult[],
    waited: boolean,
  ): DecidedClaims<Claim, Request, Objection>;
  /**
   * As `GroupWork.optimistic`: what the claims are where all their rows are as they usually are, in statements that fail where one
   * is not (`BatchStatements.changeRows`). No two of them have a subject in common.
   */
  optimistic?(claims: readonly Claim[]): OptimisticClaims<Request> | undefined;
  /**
   * While most are refused they are looked at first, without locks, and whoever is refused by that waits for nobody. Who is not takes the
   * locks, one round trip later. Absent, or where callers do not share transactions: all are decided under their locks.
   */
  readonly look?: ClaimLook<Claim, Objection>;
}

/** Refuses claims by what was committed when it was read. What it throws its callers are told; nothing was claimed then. */
export interface ClaimLook<Claim, Objection extends Refused> {
  /** Reads what refuses, without locks. Each statement sees what was committed when it began, so let one statement tell an objection. */
  read(claims: readonly Claim[]): readonly SqlStatement[];
  /**
   * For each claim, in their order, what `decide` would refuse it with if it were decided upon these rows, as a refusal of the past;
   * undefined: it is decided under its locks. Must not change anything outside.
   */
  objections(claims: readonly Claim[], read: readonly SqlResult[]): readonly (Objection | undefined)[];
}

export interface OptimisticClaims<Request extends Json> {
  /** One for each claim, in their order. */
  readonly claimed: readonly ClaimedAttempt<Request>[];
  readonly writes: readonly SqlStatement[];
}

/** The claims of one transaction, as far as they have been decided. */
export interface DecidedClaims<Claim, Request extends Json, Objection extends Refused> {
  /**
   * Decides about the next one, as if those before it had been done. `held`: its row was passed over. What is `done` is written, unless its
   * key turns out to be on record: then all is rolled back, and decided again without it.
   */
  claim(claim: Claim): Done<ClaimedAttempt<Request>> | Objection | typeof HELD;
  /** Of all that were `done`, one at least. */
  writes(): readonly SqlStatement[];
}

/** An effect that has come about, and is to be written down. */
export interface Settlement<Request, Value> {
  readonly call: OutwardCall<Request>;
  readonly value: Value;
}

export interface GroupedCallSettlements<Request extends Json, Value extends Json> {
  /** As `GroupWork.sizeOf`. */
  sizeOf?(settlement: Settlement<Request, Value>): number;
  /** As `GroupedCallClaims.read`, and in the same order. The records are locked after it. */
  read(settlements: readonly Settlement<Request, Value>[], wait: boolean): readonly SqlStatement[];
  /** As `GroupedCallClaims.decide`. */
  decide(
    settlements: readonly Settlement<Request, Value>[],
    read: readonly SqlResult[],
    waited: boolean,
  ): DecidedSettlements<Request, Value>;
  /** As `GroupedCallClaims.optimistic`. The records are looked at and changed after it. */
  optimistic?(settlements: readonly Settlement<Request, Value>[]): OptimisticSettlements | undefined;
}

export interface OptimisticSettlements {
  /** One for each settlement, in their order. */
  readonly answers: readonly Answer[];
  readonly writes: readonly SqlStatement[];
}

export interface DecidedSettlements<Request extends Json, Value extends Json> {
  /**
   * As `DurableCallDefinition.settle`, about the next one; those whose fence is lost are never asked for. An answer that tells what the
   * database makes of the writes, such as ids, is given as a function of their results, at the cost of one more round trip.
   */
  settle(
    settlement: Settlement<Request, Value>,
  ): Done<Answer | ((written: readonly SqlResult[]) => Answer)> | Refused | typeof HELD;
  /** Of all that were `done`, one at least. */
  writes(): readonly SqlStatement[];
}
