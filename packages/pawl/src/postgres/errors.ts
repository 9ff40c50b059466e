import { StoreError, type StoreErrorCode } from '../errors.ts';

/** SQLSTATE → what it means to a guard. @see PostgreSQL, appendix "Error Codes" */
const CODES: Readonly<Record<string, StoreErrorCode>> = {
  '23505': 'DUPLICATE_KEY',
  '40P01': 'DEADLOCK',
  '40001': 'SERIALIZATION_FAILURE',
  '55P03': 'LOCK_TIMEOUT',
  '57014': 'STATEMENT_CANCELED',
  // A statement after one that has failed.
  '25P02': 'ROLLED_BACK',
};

/** Classes and codes with which the server takes leave: admin shutdown, crash, connection exceptions, times that are over. */
const CONNECTION_LOST = /^(08...|57P01|57P02|57P05|25P03|25P04)$/;
/** The server refused to open a session: still starting, shutting down, or full. Nothing ran. */
const UNAVAILABLE = /^(57P03|53300|28...|3D000)$/;

/**
 * Classifies by SQLSTATE. An error without one is not an answer of the server: the connection broke, or the
 * client gave up waiting, so the statement may have taken effect.
 */
export function classifyError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const state = sqlState(error);
  const message = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (state === undefined || CONNECTION_LOST.test(state)) {
    return new StoreError('CONNECTION_LOST', 'unknown', message, options);
  }
  if (UNAVAILABLE.test(state)) return new StoreError('UNAVAILABLE', 'none', message, options);
  return new StoreError(CODES[state] ?? 'REJECTED', 'none', message, options);
}

function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  // Node's own codes (ECONNRESET, EPIPE) may be five characters long, but only the server sends a severity.
  if (!('severity' in error)) return undefined;
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
}
