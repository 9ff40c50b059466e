/** The most that a key may have; the key columns hold no more. */
const MOST_CHARACTERS = 255;

/** A string of RFC 8941: visible ASCII and blanks, in quotes; a quote or a backslash inside stands behind a backslash. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;
/** As most clients send it: visible ASCII. Without the comma by which two headers are joined to one. */
const UNQUOTED = /^[\x21\x23-\x2b\x2d-\x7e]*$/;

/** What a request says in `Idempotency-Key`. */
export type IdempotencyHeader =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'invalid'; readonly why: string };

/**
 * Reads the value of the header `Idempotency-Key`, as a server gives it: several of them are joined by a comma.
 *
 * The draft has a quoted string; many clients send the same characters without quotes, and mean the same key.
 *
 * @see the IETF draft "The Idempotency-Key HTTP Header Field"; RFC 8941, 3.3.3
 */
export function readIdempotencyHeader(value: string | undefined): IdempotencyHeader {
  if (value === undefined) return { kind: 'missing' };
  const text = value.trim();
  const key = text.startsWith('"') ? QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, '$1') : text;
  if (key === undefined || (key === text && !UNQUOTED.test(text))) {
    const why = 'Idempotency-Key must be one string of visible ASCII characters, with or without quotes.';
    return { kind: 'invalid', why };
  }
  if (key === '') return { kind: 'invalid', why: 'Idempotency-Key must not be empty.' };
  if (key.length > MOST_CHARACTERS) {
    return { kind: 'invalid', why: `Idempotency-Key must have at most ${MOST_CHARACTERS} characters.` };
  }
  return { kind: 'key', key };
}
