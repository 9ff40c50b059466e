import { hash } from 'node:crypto';
import { InvalidKeyError, MisuseError } from './errors.ts';
import type { IdempotencyRecordId } from './idempotency-record.ts';

/** A request that its client may send more than once, under one key. */
export interface IdempotentRequest {
  /**
   * Whose request it is, and for what: the member and the route. The same key in another scope is another key, so that
   * nobody is answered with what is somebody else's. Not empty; what is shared by all says so (`['everybody']`).
   */
  readonly scope: readonly string[];
  /** As the client sent it: 1 to 255 characters, none of them a control character. Compared byte by byte. */
  readonly key: string;
  /**
   * The payload as it arrived, before anything has parsed it: one space more is another payload. Its SHA-256 is stored,
   * not the payload.
   */
  readonly payload: Uint8Array | string;
}

/** The most that the key columns hold. */
const SCOPE_BYTES = 1_020;
const KEY_CHARACTERS = 255;

const CONTROL_CHARACTER = /\p{Cc}/u;

/** What names the request's record. @throws InvalidKeyError @throws MisuseError */
export function recordIdOf({ scope, key }: IdempotentRequest): IdempotencyRecordId {
  return { scope: encodedScope(scope), key: checkedKey(key) };
}

/** @throws MisuseError  It is no payload: what has been parsed has lost its bytes. */
export function fingerprintOf({ payload }: IdempotentRequest): string {
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array)) {
    throw new MisuseError('the payload of a request must be its bytes, or text');
  }
  return hash('sha256', payload, 'hex');
}

/** As JSON, which keeps `['a', 'b']` apart from `['a,b']`, and shows where it ends. */
function encodedScope(scope: readonly string[]): string {
  // What a caller without types, or a member without an id, would make of it.
  const parts: readonly unknown[] = Array.isArray(scope) ? scope : [];
  if (parts.length === 0 || !parts.every(isPlainText)) {
    throw new MisuseError('the scope of an idempotency key must name the member and the route');
  }
  const encoded = JSON.stringify(parts);
  if (Buffer.byteLength(encoded) > SCOPE_BYTES) {
    throw new MisuseError(`the scope of an idempotency key must fit into ${SCOPE_BYTES} bytes`);
  }
  return encoded;
}

function isPlainText(part: unknown): boolean {
  return typeof part === 'string' && part !== '' && part.isWellFormed() && !CONTROL_CHARACTER.test(part);
}

function checkedKey(key: string): string {
  if (typeof key !== 'string' || key === '')
    throw new InvalidKeyError('an idempotency key must not be empty');
  // Encoded, a lone surrogate becomes the same replacement character as any other.
  if (!key.isWellFormed() || CONTROL_CHARACTER.test(key)) {
    throw new InvalidKeyError('an idempotency key must be text without control characters');
  }
  // A character takes one or two units of a string.
  const characters = key.length > KEY_CHARACTERS ? [...key].length : key.length;
  if (characters > KEY_CHARACTERS) {
    throw new InvalidKeyError(
      `an idempotency key must have at most ${KEY_CHARACTERS} characters, got ${characters}`,
    );
  }
  return key;
}
