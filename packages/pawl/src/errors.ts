/** What a store reported, classified by its driver's codes and never by message text. */
export type StoreErrorCode =
  /** A unique constraint refused the row. */
  | 'DUPLICATE_KEY'
  | 'DEADLOCK'
  | 'SERIALIZATION_FAILURE'
  /** A lock was not granted within the wait limit. */
  | 'LOCK_TIMEOUT'
  /** The server ended the statement: a statement time-out, or an operator. */
  | 'STATEMENT_CANCELED'
  /** An earlier statement of the transaction has failed, so that nothing more of it is done or committed. */
  | 'ROLLED_BACK'
  /** Redis does not have the script that was named by its digest; nothing ran. */
  | 'UNKNOWN_SCRIPT'
  /** No connection could be had, or the server takes nothing now; nothing was done. */
  | 'UNAVAILABLE'
  /** The connection broke, or fell silent, after something was sent. */
  | 'CONNECTION_LOST'
  /** Anything else that the server answered: a constraint, a type, a missing table. */
  | 'REJECTED';

/**
 * A store could not do what it was asked.
 *
 * `effect` says what had happened when this was thrown: `none`, nothing of the statement (inside a
 * transaction: nothing of the transaction) took effect or will; `unknown`, it may have, as when the answer to a
 * COMMIT is lost. Whoever repeats an `unknown` blindly does things twice.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  readonly effect: 'none' | 'unknown';

  constructor(code: StoreErrorCode, effect: 'none' | 'unknown', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.effect = effect;
  }
}

/** The caller used a guard in a way that it cannot protect. Nothing was sent to the store. */
export class MisuseError extends Error {
  override readonly name = 'MisuseError';
  readonly code = 'MISUSE';
}

/** An idempotency key that no client may send: empty, too long, or with control characters. Nothing was sent to the store. */
export class InvalidKeyError extends Error {
  override readonly name = 'InvalidKeyError';
  readonly code = 'INVALID_KEY';
}

/**
 * A lease has been lost, or can no longer be confirmed: somebody else may be at work. What was done until then may have
 * taken effect; nothing of the lease's own will be stored any more, unless nobody else has come.
 */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
  readonly code = 'LEASE_LOST';
}
