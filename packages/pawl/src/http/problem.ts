import type { Answer } from '../idempotency-record.ts';

/** What a guarded route answers in place of its handler: for programs. */
export type ProblemCode =
  | 'idempotency-key-missing'
  | 'idempotency-key-invalid'
  | 'unauthenticated'
  | 'unsupported-media-type'
  | 'in-progress'
  | 'payload-mismatch'
  | 'contended'
  | 'store-unavailable'
  | 'outcome-unknown'
  | 'answer-too-large'
  | 'streaming-answer';

/** Status, title and what it means for the client. */
const problems: Readonly<Record<ProblemCode, readonly [status: number, title: string, detail: string]>> = {
  'idempotency-key-missing': [
    400,
    'Idempotency-Key is missing',
    'This operation needs the header Idempotency-Key: a name that the client gives to the request, and keeps when it sends it again.',
  ],
  'idempotency-key-invalid': [400, 'Idempotency-Key is invalid', ''],
  unauthenticated: [401, 'Not authenticated', 'Nobody is known to have sent this request.'],
  'unsupported-media-type': [
    415,
    'The body is of a kind that is not read',
    'This operation reads no body of this media type.',
  ],
  'in-progress': [
    409,
    'A request is outstanding for this Idempotency-Key',
    'The same request is being worked on. Send it again later, with the same key, for its answer.',
  ],
  'payload-mismatch': [
    422,
    'Idempotency-Key is already used',
    'This key has come with another request. Another operation needs another key.',
  ],
  contended: [
    503,
    'Others were in the way',
    'Nothing came of this request, because others worked on the same. Send it again, with the same key.',
  ],
  'store-unavailable': [
    503,
    'The keys cannot be looked up',
    'Nothing came of this request. Send it again later, with the same key.',
  ],
  'outcome-unknown': [
    503,
    'The outcome is not known',
    'It is not known whether this request took effect. Send it again later, with the same key.',
  ],
  'answer-too-large': [
    500,
    'The answer is too large to be kept',
    'The operation was carried out, and will not be repeated under this key. Its answer was too large to be kept.',
  ],
  'streaming-answer': [
    500,
    'The answer is a stream, which cannot be kept',
    'The operation was carried out, and will not be repeated under this key. Its answer was a stream, which cannot be kept.',
  ],
};

/** How long a client is asked to wait when nobody knows better, in milliseconds. */
const SOON_MS = 1_000;

/** Those after which the same request is to be sent again. */
const LATER = new Set<ProblemCode>(['in-progress', 'contended', 'store-unavailable', 'outcome-unknown']);

export interface ProblemOptions {
  /** Where the rules of the keys are published: a problem's `type` is this, `#` and the code. Default: `about:blank`. */
  readonly rulesUrl?: string | undefined;
  readonly detail?: string;
  readonly retryAfterMs?: number;
}

/** An answer that says what is wrong, in the form of RFC 9457, with a `code` beside. */
export function problemAnswer(
  code: ProblemCode,
  { rulesUrl, detail, retryAfterMs = SOON_MS }: ProblemOptions,
): Answer {
  const [status, title, usual] = problems[code];
  const type = rulesUrl === undefined ? 'about:blank' : `${rulesUrl}#${code}`;
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(LATER.has(code) ? { 'retry-after': String(seconds) } : {}),
    },
    body: Buffer.from(JSON.stringify({ type, title, status, detail: detail ?? usual, code })),
  };
}
