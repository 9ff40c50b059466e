import type { StoreErrorCode } from './errors.ts';
import type { RefusalReason } from './outcome.ts';

/**
 * What is told of the guards to whoever watches a service: traces and metrics (`pawl/opentelemetry`), or something of your own.
 *
 * Every word of it is of a closed set, and the rest are small numbers: it may be counted by and written into a log. It is never a key,
 * a scope, a subject, a payload, a value of a row, or the message of an error, which may be personal or secret, and of which there are as
 * many as there are requests.
 */
export interface Observer {
  /**
   * An operation begins. Must not be slow: the guard waits for it.
   *
   * @returns who is told how it goes on; undefined: nobody.
   */
  began(operation: Operation): Observation | undefined;
  /** An event that belongs to no operation which is observed: nobody ran one then, or it had begun before this observer came. */
  happened?(event: ObservedEvent): void;
  /** A transaction that several callers share begins. */
  batched?(batch: ObservedBatch): void;
}

/** A transaction of `groupCommit` that is about to begin. */
export interface ObservedBatch {
  /** What the program calls the group. */
  readonly group: string;
  readonly store: StoreKind;
  /** How many callers share it. */
  readonly size: number;
  /** How many others wait, in this process and for the same group. */
  readonly left: number;
  /** How long the first of its callers has waited, in milliseconds. */
  readonly waitedMs: number;
}

/** Told how one operation goes on. What any of these throws, or rejects with, is dropped: the guard goes on as if nobody watched. */
export interface Observation {
  /**
   * Calls `run`, before it returns, where something is to be in effect while the operation runs: an asynchronous context, say. The
   * operation runs once, whether or not this calls it. Its end is told to `ended`, and not here.
   */
  around?: ((run: () => void) => void) | undefined;
  /** The guard has let it through; its work begins. More than once where the work runs again. */
  claimed?(claim: ObservedClaim): void;
  /** A transaction that is tried again after conflicts begins for the `attempt`-th time. */
  tried?(attempt: number): void;
  happened?(event: ObservedEvent): void;
  /** The last that is told but for events that come late. Also where the observer was taken away meanwhile. */
  ended(ending: Ending): void;
}

export type GuardName =
  | 'conditional-update'
  | 'unique-claim'
  | 'optimistic-lock'
  | 'pessimistic-lock'
  | 'fencing'
  | 'idempotency-key'
  | 'distributed-lock'
  | 'durable-call'
  | 'compensation'
  | 'stock';

export type GuardStep =
  | 'adopt'
  | 'begin'
  | 'claim'
  | 'end'
  | 'forget'
  | 'lock'
  | 'lock-available'
  | 'look-up'
  | 'recover'
  | 'register'
  | 'release'
  | 'renew'
  | 'retry'
  | 'run'
  | 'run-in'
  | 'send'
  | 'settle'
  | 'sweep'
  | 'transact'
  | 'update'
  | 'verify';

/** One use of a guard, from its call to its outcome. */
export interface Operation {
  readonly guard: GuardName;
  /** Absent where the guard has but one. */
  readonly step?: GuardStep;
  /** Absent where the store does not say. */
  readonly store?: StoreKind;
}

/** What a store is, in one word: a word of the program, never of a request. */
export type StoreKind = 'postgres' | 'mysql' | 'redis' | 'memory';

export interface ObservedClaim {
  /** From 1. Of a durable call, which attempt at its subject; else one more for each who had it before and did not finish. */
  readonly attempt?: number;
  /** Whether somebody had it before, and did not finish. */
  readonly takeover?: boolean;
}

/** How an operation ended, in the words of `outcome.ts`. `failed`: it threw. */
export type Ending =
  | { readonly outcome: 'done'; readonly replayed: boolean }
  /** `reason` is absent where the caller's work gave one that is not of the closed set. */
  | { readonly outcome: 'refused'; readonly reason?: ObservedReason | undefined }
  | { readonly outcome: 'unknown' }
  /** `effect`: what a `StoreError` says of what had happened. */
  | {
      readonly outcome: 'failed';
      readonly code: FailureCode;
      readonly effect?: 'none' | 'unknown' | undefined;
    };

/** The last three are the receiver's of a durable call: nothing was sent, nothing was found, its effect is not undone. */
export type ObservedReason = RefusalReason | 'not-sent' | 'not-found' | 'standing';

/** The `code` of an error of the library; `OTHER` for whatever else the caller's work threw. */
export type FailureCode = StoreErrorCode | 'MISUSE' | 'INVALID_KEY' | 'LEASE_LOST' | 'OTHER';

/** What `onEvent` of a guard is told, without what it is about. It is told here also where no `onEvent` was given. */
export interface ObservedEvent {
  readonly guard: GuardName;
  readonly kind: ObservedEventKind;
  /** Absent where there is no cause. */
  readonly code?: FailureCode | undefined;
}

export type ObservedEventKind =
  | 'renewal-failed'
  | 'lease-lost'
  | 'not-stored'
  | 'not-released'
  | 'unknown'
  | 'failed'
  | 'stuck'
  | 'recovery-failed';
