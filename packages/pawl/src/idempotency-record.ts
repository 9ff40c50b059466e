import { MisuseError } from './errors.ts';

/**
 * How the record of an idempotency key is spoken of, whichever store keeps it.
 */

/** Who wrote the record: each key belongs to one of the two ways for as long as its record lives. */
export type IdempotencyMode = 'leased' | 'transactional';

/** The answer to a request: what is stored, and given again byte by byte. */
export interface Answer {
  /** An HTTP status, or the like: a whole number from 100 to 999. */
  readonly status: number;
  /** Those that are on the allow-list are stored, under their names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** An answer as it comes out of a store. */
export interface StoredAnswer extends Answer {
  readonly headers: Readonly<Record<string, string>>;
}

/** What names a record. Both are compared byte by byte. */
export interface IdempotencyRecordId {
  readonly scope: string;
  readonly key: string;
}

export interface IdempotencyClaim extends IdempotencyRecordId {
  readonly mode: IdempotencyMode;
  /** SHA-256 of the payload, in hexadecimal digits. */
  readonly fingerprint: string;
  /** A UUID that nobody else has: whatever is written later must show it. */
  readonly owner: string;
  /** Until somebody else may take the work over, in milliseconds of the store's clock. 0: as soon as it is visible. */
  readonly leaseMs: number;
  /** Until the record may be forgotten, in milliseconds; at least `leaseMs`. */
  readonly retentionMs: number;
}

export interface IdempotencyRecord {
  readonly mode: IdempotencyMode;
  readonly fingerprint: string;
  readonly owner: string;
  /** 1 for the first who ran, and one more for each takeover. */
  readonly attempt: number;
  /** What is left of the lease, in milliseconds; 0 or less: it is over. Of a record with its answer it says nothing. */
  readonly leaseLeftMs: number;
  /** Absent while the work is in progress. */
  readonly answer: StoredAnswer | undefined;
}

/** Either the record is the claimant's now, or this is somebody else's. */
export type ClaimedRecord =
  | { readonly claimed: true; readonly attempt: number }
  | { readonly claimed: false; readonly record: IdempotencyRecord };

/**
 * The columns of `IdempotencyRecord`, as both dialects name them. Numbers, text and bytes only, since what is a boolean or a moment
 * to one driver is text to another; `fingerprint` is text, in hexadecimal digits of either case.
 *
 * @throws MisuseError  The driver is told to give bytes as something else.
 */
export function recordFromRow(row: Readonly<Record<string, unknown>>): IdempotencyRecord {
  return {
    mode: row.mode === 'transactional' ? 'transactional' : 'leased',
    fingerprint: textOf(row.fingerprint).toLowerCase(),
    owner: String(row.owner),
    attempt: Number(row.attempt),
    leaseLeftMs: Number(row.lease_left_ms),
    answer:
      row.status === null
        ? undefined
        : { status: Number(row.status), headers: JSON.parse(String(row.headers)), body: bytes(row.body) },
  };
}

/** Names a record among those of one store. */
export function recordKey(scope: string, key: string): string {
  return `${scope.length} ${scope}${key}`;
}

/** As `recordKey`, of a row with `scope` and `idempotency_key`. */
export function rowKey(row: Readonly<Record<string, unknown>>): string {
  return recordKey(textOf(row.scope), textOf(row.idempotency_key));
}

/** Whether the driver reads the column as text or as bytes. */
export function textOf(value: unknown): string {
  return value instanceof Uint8Array ? bytes(value).toString() : String(value);
}

/**
 * A record that is claimed in a group expires so much later than its retention, so that it need not be moved to another place in the index when
 * it is completed, which begins its retention anew.
 */
export const RETENTION_SLACK = 1.01;

/** Of the answers that are read for many at once, in bytes: one that is longer is read for each who asks. */
export const LONGEST_BODY = 16_384;

export function encodedHeaders({ headers }: StoredAnswer): string {
  return asciiJson(headers);
}

/** JSON in ASCII, which every character set of a connection leaves as it is. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** @throws MisuseError  The driver is told to give bytes as something else. */
export function bytes(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new MisuseError('the driver must give the bytes of bytea, BINARY and BLOB columns as bytes');
}
