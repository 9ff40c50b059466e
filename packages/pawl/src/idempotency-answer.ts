import { MisuseError } from './errors.ts';
import type { Answer, StoredAnswer } from './idempotency-record.ts';

/**
 * What becomes of a key when its work has ended: `store` its answer, `release` the key, so that the next request runs at
 * once, or `keep` it until its lease is over, because the work may have had an effect.
 */
export type Disposition = 'store' | 'release' | 'keep';

/** Which answers are stored, and what becomes of a key whose work threw. */
export interface AnswerPolicy {
  answered(answer: Answer): Disposition;
  threw(error: unknown): 'release' | 'keep';
}

/** Statuses that tell the client to send the request again later, and mean that nothing was done. */
const NOT_NOW = new Set([425, 429]);

/** What a service answers for a handler that takes too long, and that may be at work still. */
const TIMED_OUT = 408;

/**
 * Stores what is final. A server error is not: stored, it could never be tried again; released, the work would run again at
 * once although it may have had its effect. So its key stays taken until the lease is over, and so does that of work that
 * threw, or that somebody gave up waiting for (408).
 */
export const defaultAnswerPolicy: AnswerPolicy = {
  answered({ status }) {
    if (NOT_NOW.has(status)) return 'release';
    return status >= 500 || status === TIMED_OUT ? 'keep' : 'store';
  },
  threw: () => 'keep',
};

/** What describes the bytes of the body, and where to go from them. */
export const defaultStoredHeaders: readonly string[] = [
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'location',
  'link',
  'etag',
  'last-modified',
];

/** They belong to one client and one connection. */
const NEVER_STORED = new Set([
  'set-cookie',
  'cookie',
  'authorization',
  'proxy-authorization',
  'www-authenticate',
  'proxy-authenticate',
  'authentication-info',
]);

/**
 * Keeps of an answer what may be stored.
 *
 * @throws MisuseError  At once: a header on the list must never be stored. Of the answer: it is none.
 */
export function storedAnswers(headers: readonly string[]): (answer: Answer) => StoredAnswer {
  const allowed = new Set(headers.map((name) => name.toLowerCase()));
  for (const name of allowed) {
    if (NEVER_STORED.has(name)) throw new MisuseError(`${name} must not be stored with an answer`);
  }
  return (answer) => {
    // What a caller without types would make of it.
    if (typeof answer !== 'object' || answer === null) throw new MisuseError(`not an answer: ${answer}`);
    const { status, body } = answer;
    const headers = answer.headers ?? {};
    if (!Number.isInteger(status) || status < 100 || status > 999) {
      throw new MisuseError(`the status of an answer must be a whole number from 100 to 999, got ${status}`);
    }
    if (!(body instanceof Uint8Array)) throw new MisuseError('the body of an answer must be bytes');
    const kept: Record<string, string> = {};
    for (const [given, value] of Object.entries(headers)) {
      const name = given.toLowerCase();
      if (allowed.has(name)) kept[name] = value;
    }
    return { status, headers: kept, body };
  };
}
