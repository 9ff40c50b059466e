import { StoreError, type StoreErrorCode } from '../errors.ts';

/** Number of the server's error → what it means to a guard. @see "Server Error Message Reference" of MySQL and MariaDB */
const CODES: Readonly<Record<number, StoreErrorCode>> = {
  1062: 'DUPLICATE_KEY',
  1169: 'DUPLICATE_KEY',
  1586: 'DUPLICATE_KEY',
  // On a Galera cluster also the answer to a COMMIT that another node's came before.
  1213: 'DEADLOCK',
  // MariaDB's innodb_snapshot_isolation: the row has changed since the transaction's snapshot.
  1020: 'SERIALIZATION_FAILURE',
  // Row locks and metadata locks alike, and MariaDB's NOWAIT; MySQL 8's NOWAIT is 3572.
  1205: 'LOCK_TIMEOUT',
  3572: 'LOCK_TIMEOUT',
  1317: 'STATEMENT_CANCELED',
  1969: 'STATEMENT_CANCELED',
  3024: 'STATEMENT_CANCELED',
};

/** The server ends the session: shutdown, KILL, a client that was idle in a transaction for too long. */
const CONNECTION_LOST = new Set([1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 3169, 4031]);
/** The server refuses the statement, and then closes the session: it was too large (`max_allowed_packet`). */
const CLOSES_SESSION = 1153;
/** The server refused to open a session, or this node of a cluster takes no statements now. Nothing ran. */
const UNAVAILABLE = new Set([1040, 1045, 1047, 1049, 1129, 1130, 1203]);

/**
 * Classifies by the server's error number. An error without a SQLSTATE is not an answer of the server: the
 * connection broke, or the client gave up waiting, so the statement may have taken effect.
 */
export function classifyError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const number = serverErrorNumber(error);
  const message = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (number === undefined || CONNECTION_LOST.has(number)) {
    return new StoreError('CONNECTION_LOST', 'unknown', message, options);
  }
  if (UNAVAILABLE.has(number)) return new StoreError('UNAVAILABLE', 'none', message, options);
  return new StoreError(CODES[number] ?? 'REJECTED', 'none', message, options);
}

/** Whether the session is of no use after this answer. */
export function closesSession(error: StoreError): boolean {
  return error.code === 'CONNECTION_LOST' || serverErrorNumber(error.cause) === CLOSES_SESSION;
}

function serverErrorNumber(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  // Node's own errors have numbers too (negative ones), but only the server sends a SQLSTATE.
  if (!('sqlState' in error) || typeof error.sqlState !== 'string') return undefined;
  return 'errno' in error && typeof error.errno === 'number' ? error.errno : undefined;
}
