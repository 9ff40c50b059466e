import { AsyncLocalStorage } from 'node:async_hooks';
import { MisuseError, StoreError } from '../errors.ts';
import type { Answer } from '../idempotency-record.ts';
import type { IdempotentOutcome } from '../idempotency-run.ts';
import type { TransactionalOutcome } from '../idempotency-transaction.ts';
import { isObserved } from '../observe.ts';
import { done, type Refused, refused } from '../outcome.ts';
import { quiet } from '../quiet.ts';
import { LONGEST_TIMER_MS, requireMs } from '../timers.ts';
import { type AnyIdempotencyKeys, isGuardedBy, rememberWork } from './guarded-work.ts';
import { readIdempotencyHeader } from './idempotency-header.ts';
import { type ProblemCode, type ProblemOptions, problemAnswer } from './problem.ts';

/** A key that is everybody's: whoever sends it gets the answer that is stored under it. */
export const EVERYBODY = 'everybody';

/** What is not given. */
const ANSWER_WITHIN_MS = 60_000;

export interface HttpIdempotencyOptions<Request> {
  /**
   * `idempotencyKeys`: the claim commits alone, and a lease is renewed while the handler runs. Or
   * `transactionalIdempotencyKeys`, for handlers without outward effects: the handler runs in a transaction
   * (`transactionOf`), which commits with the answer when its status is below 400, and is rolled back otherwise.
   */
  readonly keys: AnyIdempotencyKeys;
  /**
   * Who asks, by what has been authenticated before: nobody else is given the stored answer. A request of nobody
   * (`undefined`, or an empty name) is answered 401. `'everybody'`, said in so many words, where there are no members.
   */
  readonly member: ((request: Request) => MemberName | Promise<MemberName>) | typeof EVERYBODY;
  /** Whether a request without a key is refused (400), or handled without a guard. Default true. */
  readonly required?: boolean;
  /** The most that is stored of an answer's body, in bytes. Default 1 MiB. */
  readonly maxAnswerBytes?: number;
  /**
   * In transactional mode: how long the handler may take to answer, in milliseconds, with a connection and a lock. Then its
   * transaction is rolled back, and its client is told to send the request again, also if it answers later. Default 60 s.
   */
  readonly answerWithinMs?: number;
  /** Where your rules for keys are published: the `type` of a problem is this, `#` and its code. Default `about:blank`. */
  readonly rulesUrl?: string;
  /** Told of what the store could not do; the client is told to send the request again. */
  readonly onStoreError?: (error: StoreError) => void;
}

export type MemberName = string | number | undefined | null;

const defaultMaxAnswerBytes = 1_048_576;

/** A request, as far as it decides whose answer it gets. */
export interface GuardedRequest<Request> {
  readonly request: Request;
  readonly method: string;
  /** The route's pattern where the framework knows it, else its path: the same key on another route is another key. */
  readonly route: string;
  /** Path and query. They are part of what must not change under a key. */
  readonly target: string;
  /** The value of `Idempotency-Key`, several of them joined by commas. */
  readonly header: string | undefined;
  /** The body as it arrived; undefined for one that the service does not read, as of a kind that it has no parser for. */
  readonly body: Uint8Array | undefined;
}

/** Why an answer cannot be stored. */
export type Unstorable = Extract<ProblemCode, 'answer-too-large' | 'streaming-answer'>;

/** What the handler answered; or that it was not called, because somebody else has answered meanwhile. */
export type Handled =
  | { readonly answer: Answer }
  | { readonly unstorable: Unstorable }
  | { readonly notRun: true };

/** An answer to be sent in place of the handler's; its headers are all that it has. */
export interface OtherAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export type Begun =
  /** The handler must not run: this is sent. */
  | { readonly run: false; readonly answer: OtherAnswer }
  /**
   * The handler runs. What it answers is given to `end` before it is sent; then this is sent, or the handler's own answer where
   * it is undefined. Call it always: until then the key is held. It is told too that the handler was not called: then
   * nothing is kept.
   */
  | {
      readonly run: true;
      end(handled: Handled): Promise<OtherAnswer | undefined>;
      /** Calls the handler, where what the guard has begun is around it: the span of whoever watches. */
      within<Result>(handler: () => Result): Result;
    }
  /**
   * There is no key, and none is required; or the request has been begun by the same keys before: the handler runs as it would by
   * itself.
   */
  | { readonly run: true; readonly end: undefined };

/** A route on which a handler runs once for a key. What is its framework's is its adapter's. */
export interface GuardedRoute<Request> {
  readonly maxAnswerBytes: number;
  /**
   * Call it when the request has been authenticated and its body has been read.
   *
   * @throws MisuseError  A member or a route that no scope can name; or the key is in use in the other mode.
   * @throws StoreError  The store refuses what it was asked, as where its table is missing; nothing ran.
   */
  begin(request: GuardedRequest<Request>): Promise<Begun>;
}

/**
 * Runs the handlers of a route by idempotency keys, in whatever framework.
 *
 * @throws MisuseError  The keys or the member are not given, or an option is none.
 * @see the IETF draft "The Idempotency-Key HTTP Header Field"; RFC 9457
 */
export function guardedRoute<Request extends object>(
  options: HttpIdempotencyOptions<Request>,
): GuardedRoute<Request> {
  const { keys, member, required, maxAnswerBytes, answerWithinMs, rulesUrl, onStoreError } = checked(options);
  const problem = (code: ProblemCode, more: ProblemOptions = {}): OtherAnswer =>
    sent(problemAnswer(code, { rulesUrl, ...more }));

  async function begin(guarded: GuardedRequest<Request>): Promise<Begun> {
    const { request, method, route, target, body } = guarded;
    const header = readIdempotencyHeader(guarded.header);
    if (header.kind === 'missing' && !required) {
      rememberWork(request, { keys, record: undefined, held: undefined });
      return { run: true, end: undefined };
    }
    // Before anything is said of the key.
    const whose = member === EVERYBODY ? [EVERYBODY] : memberScope(await member(request));
    if (whose === undefined) return { run: false, answer: problem('unauthenticated') };
    if (header.kind === 'invalid') {
      return { run: false, answer: problem('idempotency-key-invalid', { detail: header.why }) };
    }
    if (header.kind === 'missing') return { run: false, answer: problem('idempotency-key-missing') };
    if (body === undefined) return { run: false, answer: problem('unsupported-media-type') };
    const payload = Buffer.concat([Buffer.from(`${method} ${target}\n`), body]);
    return run({ scope: [...whose, `${method} ${route}`], key: header.key, payload }, request);
  }

  function run(
    keyed: { readonly scope: readonly string[]; readonly key: string; readonly payload: Uint8Array },
    request: Request,
  ): Promise<Begun> {
    // Two guards on one route: the first has it.
    if (isGuardedBy(request, keys, keyed)) return Promise.resolve({ run: true, end: undefined });
    const begun = Promise.withResolvers<Begun>();
    const handled = Promise.withResolvers<Handled>();
    let isHandled = false;
    let own: Answer | undefined;

    const end = async (answered: Handled): Promise<OtherAnswer | undefined> => {
      const isTooLarge = 'answer' in answered && answered.answer.body.byteLength > maxAnswerBytes;
      handled.resolve(isTooLarge ? { unstorable: 'answer-too-large' } : answered);
      const outcome = await ended;
      return 'failed' in outcome ? failure(outcome.failed) : toBeSent(outcome, own);
    };
    /** Hands the request to its handler, once: a handler that has answered cannot be made to run again. */
    const handle = (held: unknown): Promise<Handled> => {
      if (isHandled) throw new HandledBeforeError();
      const { scope, key } = keyed;
      rememberWork(request, { keys, record: { scope, key }, held });
      isHandled = true;
      begun.resolve({ run: true, end, within: isObserved() ? AsyncLocalStorage.snapshot() : directly });
      return handled.promise;
    };

    const running: Promise<Ended> = isTransactional(keys)
      ? keys.run(keyed, async (transaction) => {
          const answering = handle(transaction);
          // A connection and a lock are held: not for as long as a handler likes that never answers.
          const late = setTimeout(() => handled.resolve({ notRun: true }), answerWithinMs);
          const answered = await answering.finally(() => clearTimeout(late));
          if ('answer' in answered) own = answered.answer;
          if (own !== undefined && own.status < 400) return done(own);
          return { ...refused('declined'), answered };
        })
      : keys.run(keyed, async (lease) => {
          const answered = await handle(lease);
          if ('notRun' in answered) return { ...refused('declined'), answered };
          // It has been carried out, so it must not be repeated, whatever the policy says of a server error.
          if ('unstorable' in answered) {
            return {
              ...done(problemAnswer(answered.unstorable, { rulesUrl })),
              disposition: 'store' as const,
            };
          }
          own = answered.answer;
          return done(own);
        });
    const ended = running.catch((failed: unknown) => ({ failed }));
    ended.then((outcome) => {
      // Its end tells.
      if (isHandled) return;
      if (!('failed' in outcome)) begun.resolve({ run: false, answer: toBeSent(outcome) ?? notDone() });
      else {
        const answer = storeFailure(outcome.failed, 'store-unavailable');
        if (answer === undefined) begun.reject(outcome.failed);
        else begun.resolve({ run: false, answer });
      }
    });
    return begun.promise;
  }

  /** @returns undefined for the handler's own answer. */
  function toBeSent(outcome: Ended, own?: Answer): OtherAnswer | undefined {
    switch (outcome.outcome) {
      case 'done':
        if (outcome.value === own) return undefined;
        return sent(outcome.value, outcome.replayed);
      case 'unknown':
        return problem('in-progress');
      case 'refused':
        switch (outcome.reason) {
          case 'in-progress':
            return problem('in-progress', { retryAfterMs: outcome.retryAfterMs });
          case 'lock-timeout':
            return problem('in-progress');
          case 'payload-mismatch':
            return problem('payload-mismatch');
          case 'contended':
            return notDone();
          case 'declined':
            if ('answer' in outcome.answered) return undefined;
            return 'unstorable' in outcome.answered
              ? problem(outcome.answered.unstorable, { detail: ROLLED_BACK })
              : notDone();
        }
    }
  }

  function notDone(): OtherAnswer {
    return problem('contended');
  }

  /** Of a run whose handler has answered. */
  function failure(error: unknown): OtherAnswer {
    if (error instanceof HandledBeforeError) return notDone();
    const answer = storeFailure(error, 'outcome-unknown');
    if (answer === undefined) throw error;
    return answer;
  }

  /** @param unknown  What it means that nobody knows what the store did. @returns undefined for what is the service's own mistake. */
  function storeFailure(error: unknown, unknown: ProblemCode): OtherAnswer | undefined {
    if (!(error instanceof StoreError)) return undefined;
    onStoreError(error);
    if (error.effect === 'unknown') return problem(unknown);
    switch (error.code) {
      case 'DEADLOCK':
      case 'SERIALIZATION_FAILURE':
      case 'LOCK_TIMEOUT':
        return notDone();
      case 'UNAVAILABLE':
      case 'CONNECTION_LOST':
      case 'STATEMENT_CANCELED':
      case 'ROLLED_BACK':
        return problem('store-unavailable');
      default:
        return undefined;
    }
  }

  return { maxAnswerBytes, begin };
}

/** Nobody has put anything around it. */
const directly = <Result>(handler: () => Result): Result => handler();

type Ended =
  | IdempotentOutcome
  | TransactionalOutcome
  | Refused<'contended'>
  | (Refused<'declined'> & { readonly answered: Handled });

/** In a transaction that is tried again after a conflict the handler would have to run again, which no framework does. */
class HandledBeforeError extends Error {}

const ROLLED_BACK = 'Nothing came of this request: its answer cannot be kept, so it was rolled back.';

/**
 * A member who is called "everybody" is not everybody.
 *
 * @returns undefined: nobody is known to ask.
 * @throws MisuseError  It is no name. As text, every object would be the same member, and be given the others' answers.
 */
function memberScope(name: unknown): readonly string[] | undefined {
  if (name === undefined || name === null || name === '') return undefined;
  if (typeof name === 'string' || Number.isFinite(name)) return ['member', String(name)];
  throw new MisuseError(`the member of a guarded route must be a text or a number, got ${typeof name}`);
}

function sent({ status, headers = {}, body }: Answer, replayed = false): OtherAnswer {
  return { status, headers: replayed ? { ...headers, 'idempotency-replayed': 'true' } : headers, body };
}

function isTransactional(keys: AnyIdempotencyKeys): keys is Extract<AnyIdempotencyKeys, { runIn: unknown }> {
  return 'runIn' in keys;
}

function checked<Request>(options: HttpIdempotencyOptions<Request>) {
  // What callers without types would give.
  const { keys, member, required = true, maxAnswerBytes = defaultMaxAnswerBytes } = options;
  const { answerWithinMs = ANSWER_WITHIN_MS, rulesUrl, onStoreError = () => undefined } = options;
  if (typeof (keys as Partial<AnyIdempotencyKeys> | undefined)?.run !== 'function') {
    throw new MisuseError('a guarded route needs the idempotency keys that guard it: keys');
  }
  if (typeof member !== 'function' && member !== EVERYBODY) {
    throw new MisuseError(
      `a guarded route must say who asks, so that nobody is given another's answer: member, or '${EVERYBODY}'`,
    );
  }
  if (!Number.isSafeInteger(maxAnswerBytes) || maxAnswerBytes < 0) {
    throw new MisuseError(`maxAnswerBytes must be a whole number of bytes, got ${maxAnswerBytes}`);
  }
  requireMs({ answerWithinMs }, 1);
  if (answerWithinMs > LONGEST_TIMER_MS) {
    throw new MisuseError(`answerWithinMs must be at most ${LONGEST_TIMER_MS}, got ${answerWithinMs}`);
  }
  return {
    ...{ keys, member, required, maxAnswerBytes, answerWithinMs, rulesUrl },
    onStoreError: quiet(onStoreError),
  };
}
