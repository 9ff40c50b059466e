import type { OutwardCall } from './durable-call-record.ts';
import type { Answer } from './idempotency-record.ts';
import type { Done, Refused } from './outcome.ts';

/** Undoing an effect that a durable call has had: a refund, a cancellation. */
export interface Compensating<Request, Value> extends OutwardCall<Request> {
  /** What the call had come to, which is to be undone. */
  readonly value: Value;
}

/**
 * What came of a try to undo it.
 *
 * - `done`: it is undone, now or before.
 * - `refused`: the receiver said no, in an answer to this very try. Whether it is undone all the same is looked up.
 * - `unknown`: no answer, or none that could be read.
 */
export type CompensationSent =
  | { readonly outcome: 'done' }
  | { readonly outcome: 'refused' | 'unknown'; readonly code: string };

/**
 * What a look-up shows of an effect that is to be undone.
 *
 * - `done`: it is undone.
 * - `standing`: it is there, and not undone.
 * - `not-found`: nothing to be seen of it, which says nothing: it is known to have come about.
 * - `unknown`: no answer, or none that could be read.
 */
export type CompensationFound =
  | { readonly outcome: 'done' | 'standing' | 'not-found' }
  | { readonly outcome: 'unknown'; readonly code: string };

/**
 * How the effect of a durable call is undone, when it can no longer be completed, or when somebody takes it back.
 *
 * The intent is committed before the receiver hears of it, with a fence and a lease, so that somebody finishes it whoever dies.
 * The token stays the same for all tries until the receiver has answered a try with a refusal *and* a look-up has shown the effect
 * standing: a refusal that is recorded under a token would be given again for ever, and a new token after a mere silence might undo
 * it twice.
 *
 * @see Garcia-Molina and Salem, "Sagas" (1987)
 */
export interface Compensation<Transaction, Request, Value> {
  /** What it is called in the token: `<subject>:<attempt>:<name>:<try>`. */
  readonly name: string;
  /** Undoes it, in full. It may be called again after an unknown outcome, with the same token. */
  send(call: Compensating<Request, Value>): Promise<CompensationSent>;
  /** Asks whether it is undone, and changes nothing. */
  lookUp(call: Compensating<Request, Value>): Promise<CompensationFound>;
  /**
   * Writes into the caller's rows that it is being undone, because `settle` has refused it. In the transaction that records the
   * intent. A refusal leaves the call to an operator (`stuck`).
   */
  began(
    transaction: Transaction,
    call: Compensating<Request, Value>,
    why: Refused,
  ): Promise<Done<void> | Refused>;
  /** Writes into the caller's rows that it is undone. @returns what the request is answered with, unless it has been answered. */
  ended(transaction: Transaction, call: Compensating<Request, Value>): Promise<Answer>;
}
