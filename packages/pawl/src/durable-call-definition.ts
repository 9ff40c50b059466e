import type { Compensation } from './compensation.ts';
import type { GroupedDurableCall } from './durable-call-group.ts';
import type { Json, OutwardCall } from './durable-call-record.ts';
import type { Found, ReleaseReason, Repeat, Sent } from './durable-call-rules.ts';
import type { Answer } from './idempotency-record.ts';
import type { Done, Refused } from './outcome.ts';

/** What a durable call is: how it is sent, how it is looked up, and what it writes into the caller's rows. */
export interface DurableCallDefinition<
  Transaction,
  Request extends Json,
  Value extends Json,
  Claim = never,
  Objection extends Refused = never,
> {
  /** Names the call in its records, among others: 1 to 64 characters. All instances of a service share the calls of a name. */
  readonly name: string;
  /**
   * `idempotent`: the receiver knows what is sent again by its token, so recovery may send again. `never`: it only looks up, and
   * gives the subject back after the known end.
   */
  readonly repeat: Repeat;
  /**
   * Sends it, once: a client that sends again by itself breaks what is promised. Nothing is held meanwhile, no transaction and no
   * connection. It must end within `leaseMs`, be it `unknown`. What it throws is `unknown` too.
   */
  send(call: OutwardCall<Request>): Promise<Sent<Value>>;
  /** Asks the receiver what became of it, and changes nothing. What it throws is `unknown`. */
  lookUp(call: OutwardCall<Request>): Promise<Found<Value>>;
  /**
   * Writes into the caller's rows what it has come to. In the transaction that settles the record, before it, and only while
   * nobody else has taken it over.
   *
   * @returns what the request is answered with, now and whenever it is sent again; or a refusal, when it can no longer be completed:
   *   all is rolled back, and the effect is compensated.
   */
  settle(transaction: Transaction, call: OutwardCall<Request>, value: Value): Promise<Done<Answer> | Refused>;
  /**
   * Gives the subject back in the caller's rows, and lets the number of its attempt grow. In the transaction that settles the
   * record, before it.
   *
   * @returns what the request is answered with, now and whenever it is sent again.
   */
  release(transaction: Transaction, call: OutwardCall<Request>, why: ReleaseReason): Promise<Answer>;
  /**
   * Undoes the claim, because nothing was sent, and lets the number of the attempt grow. In the transaction that forgets the
   * record, so that the same request may come again.
   */
  forget(transaction: Transaction, call: OutwardCall<Request>, code: string): Promise<void>;
  /** Absent: what can no longer be completed is left to an operator. */
  readonly compensation?: Compensation<Transaction, Request, Value>;
  /**
   * Claims and settlements of callers that come at the same time, in transactions that they share; for a store that has `groups`. Who
   * recovers settles alone, by `settle`, as does who finds too many others waiting.
   */
  readonly grouped?: GroupedDurableCall<Claim, Request, Value, Objection>;
}
