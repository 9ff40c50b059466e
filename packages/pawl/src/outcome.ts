/**
 * The one vocabulary in which every guard answers.
 *
 * Losing a race is a normal day, so it is a value. Only a caller who cannot get an answer gets an error
 * (`errors.ts`).
 */

/** Why a guard let nobody through this time. The set is closed, so that callers can be exhaustive. */
export type RefusalReason =
  | 'in-progress'
  | 'already-done'
  | 'wrong-state'
  | 'payload-mismatch'
  | 'declined'
  | 'sold-out'
  | 'already-issued'
  | 'not-eligible'
  | 'not-open'
  | 'quota-reached'
  | 'lock-timeout'
  | 'contended'
  | 'fenced'
  | 'overloaded';

/** The operation has taken effect. `replayed`: it had done so earlier, and this is its stored outcome. */
export interface Done<T> {
  readonly outcome: 'done';
  readonly value: T;
  readonly replayed: boolean;
}

/** The operation has had no effect. */
export interface Refused<Reason extends RefusalReason = RefusalReason> {
  readonly outcome: 'refused';
  readonly reason: Reason;
}

/**
 * Nobody knows yet whether the operation took effect: a time-out, a lost answer. It is neither a success nor a
 * failure, and must not be repeated blindly.
 */
export interface Unknown<T> {
  readonly outcome: 'unknown';
  /** Asks whoever knows, without doing the operation again. May answer `unknown` once more. */
  resolve(): Promise<Outcome<T>>;
}

export type Outcome<T> = Done<T> | Refused | Unknown<T>;

/** Anything that is told apart in the words of an outcome, whatever else it carries. */
export type Settled = { readonly outcome: 'done' | 'unknown' } | Refused;

export function done<T>(value: T, options: { replayed: boolean } = { replayed: false }): Done<T> {
  return { outcome: 'done', value, replayed: options.replayed };
}

export function refused<Reason extends RefusalReason>(reason: Reason): Refused<Reason> {
  return { outcome: 'refused', reason };
}

export function unknown<T>(resolve: () => Promise<Outcome<T>>): Unknown<T> {
  return { outcome: 'unknown', resolve };
}
