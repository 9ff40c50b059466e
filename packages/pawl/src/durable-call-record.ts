import type { IdempotencyRecordId, StoredAnswer } from './idempotency-record.ts';

/**
 * How the record of a durable call is spoken of, whichever store keeps it.
 *
 * One row is two things that are born and settled together: the idempotency record of a request, and the intent of one
 * *attempt* to have an outward effect on a *subject*.
 */

/** What JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/**
 * - `calling`: its owner is at it.
 * - `unknown`: what became of it is to be found out; it may be sent again where its receiver honours idempotency keys.
 * - `looking`: the same, but by looking up alone: a refusal was heard that cannot be believed.
 * - `compensating`: it has had its effect, which is being undone.
 * - `stuck`: nobody here can settle it; an operator must.
 * - Settled: `done`, it has had its effect; `released`, it has had none, and never will; `compensated`, its effect was undone.
 */
export type DurableCallState = UnsettledState | SettledState;
export type UnsettledState = 'calling' | 'unknown' | 'looking' | 'compensating' | 'stuck';
export type SettledState = 'done' | 'released' | 'compensated';

/** What an operator has found out, where the code cannot: that it has had its effect, that it has none, that it was undone. */
export type Verdict = 'done' | 'not-done' | 'undone';

/** What an operator asks for: that his verdict be applied, or that it be tried again as if he had said nothing. */
export type Resolution =
  /** `value`: what it came to. Absent: what is recorded already. */
  | { readonly verdict: 'done'; readonly value?: Json }
  | { readonly verdict: Exclude<Verdict, 'done'> }
  | { readonly retry: true };

/** Which of the attempts at all subjects. */
export interface AttemptRef {
  /** The name of the durable call. */
  readonly name: string;
  /** What the effect is upon: an order, say. 1 to 255 characters, none of them a control character. */
  readonly subject: string;
  /** From 1. At most one attempt at a subject is unsettled or done at a time; the number grows when one is released. */
  readonly attempt: number;
}

/** A durable call as its record tells it. */
export interface DurableCall extends AttemptRef {
  readonly id: IdempotencyRecordId;
  /** SHA-256 of the payload, in hexadecimal digits. */
  readonly fingerprint: string;
  readonly state: DurableCallState;
  /** 1 for the owner, and one more for each takeover. Only who shows it may write. */
  readonly fence: number;
  /** What is left of the lease, in milliseconds; 0 or less: it is over. Undefined: nobody may take it over. */
  readonly leaseLeftMs: number | undefined;
  /**
   * The moment was past, when this was read, after which the effect can no longer come about: a look-up that is *sent later*
   * and finds nothing is final.
   */
  readonly isFinal: boolean;
  /** What it takes to send it. */
  readonly request: Json;
  /** What came of it, where that is known and must still be known: while it is compensated. */
  readonly value: Json | undefined;
  /** Which try of the compensation, from 1; 0 while there is none. */
  readonly compensationTry: number;
  /** The last code that was heard, of whoever spoke. */
  readonly code: string | undefined;
  readonly verdict: Verdict | undefined;
  /** Absent until it is settled. */
  readonly answer: StoredAnswer | undefined;
  /** Since it was claimed, in milliseconds of the store's clock. */
  readonly ageMs: number;
}

/** A durable call as operators see it among others: without what it carries, which may be secret. */
export interface ListedDurableCall extends Omit<DurableCall, 'fingerprint' | 'request' | 'value' | 'answer'> {
  /** Since anybody wrote it, in milliseconds of the store's clock. */
  readonly unchangedMs: number;
}

/** All of it. */
export type InspectedDurableCall = DurableCall & Pick<ListedDurableCall, 'unchangedMs'>;

/** What is recorded with the claim. */
export interface NewDurableCall extends AttemptRef {
  readonly id: IdempotencyRecordId;
  readonly fingerprint: string;
  readonly state: 'calling' | 'compensating' | 'stuck';
  readonly request: Json;
  readonly value?: Json;
  readonly code?: string;
  /** Until somebody may take it over, in milliseconds of the store's clock. Absent: nobody may (`stuck`). */
  readonly leaseMs?: number;
  /** Until its effect can no longer come about, in milliseconds of the store's clock. Absent: it always can. */
  readonly finalAfterMs?: number;
}

/** What a claim is for. */
export interface ClaimedAttempt<Request extends Json> {
  readonly subject: string;
  /** Kept in the row that is claimed, where it grows with every release. */
  readonly attempt: number;
  readonly request: Request;
  /**
   * After so many milliseconds of the store's clock no effect of this attempt can come about any more, whatever is still under
   * way, and none is hidden from a look-up: a session's end with a margin. Absent: there is no such end, so what is not found
   * stays unknown.
   */
  readonly finalAfterMs?: number;
}

/** What becomes of a call. What is not given stays as it is. */
export type DurableCallChange =
  | {
      readonly state: UnsettledState;
      /** Until somebody may take it over, from the store's time of the change, in milliseconds. Absent: nobody may. */
      readonly leaseMs: number | undefined;
      /** Not beyond the moment after which its effect can no longer come about, if that is still to come. */
      readonly notAfterFinal?: boolean;
      readonly code?: string;
      readonly value?: Json;
      readonly compensationTry?: number;
    }
  | {
      readonly state: SettledState;
      readonly code?: string;
      /** Stored, and given to everybody who sends the same request again. Absent: the one that is stored stays. */
      readonly answer?: StoredAnswer;
      /** Until the record may be forgotten, in milliseconds. */
      readonly retentionMs: number;
    };

const settledStates: readonly SettledState[] = ['done', 'released', 'compensated'];

export function isSettled(state: DurableCallState): state is SettledState {
  return (settledStates as readonly string[]).includes(state);
}

/** What is sent out, or looked up. */
export interface OutwardCall<Request> {
  /** The idempotency key for the receiver: the same for every try of this attempt, and for no other. */
  readonly token: string;
  readonly subject: string;
  readonly attempt: number;
  readonly request: Request;
}
