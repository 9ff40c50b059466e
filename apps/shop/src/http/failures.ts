import type { StrictServer } from '@pawl/service-kit';
import { type RefusalReason, StoreError, type StoreErrorCode } from 'pawl';
import { ConcurrencyFailure } from '../store/unit-of-work.ts';
import { problem } from './envelope.ts';
import { TooManyRequestsError } from './member-limit.ts';
import { refusals } from './refusals.ts';

/** Statuses that the framework gives to input it refuses, and the code that we answer. */
const INPUT_CODES: Readonly<Record<number, string>> = {
  400: 'invalid-request',
  408: 'request-timeout',
  413: 'body-too-large',
  414: 'url-too-long',
  415: 'unsupported-media-type',
};

/** What others' work kept from being done. Nothing came of the request, and the next may get through. */
const CROWDED: Readonly<Partial<Record<StoreErrorCode, RefusalReason>>> = {
  LOCK_TIMEOUT: 'lock-timeout',
  DEADLOCK: 'contended',
  SERIALIZATION_FAILURE: 'contended',
};

/** Why others kept a request from being done, where that is what an error says. */
export function crowdedOut(error: unknown): RefusalReason | undefined {
  return error instanceof StoreError && error.effect === 'none' ? CROWDED[error.code] : undefined;
}

/** Puts whatever goes wrong into the envelope. Only messages that were written for the client leave the shop. */
export function answerFailures(app: StrictServer): void {
  app.setNotFoundHandler((request, reply) => {
    reply
      .status(404)
      .send(problem(404, 'not-found', `There is no ${request.method} ${request.url.split('?')[0]}.`));
  });

  app.setErrorHandler((error: unknown, request, reply) => {
    if (error instanceof ConcurrencyFailure) {
      return reply.status(500).send(problem(500, 'concurrency-failure', error.message));
    }
    if (error instanceof TooManyRequestsError) {
      const message = `You ask too often. Wait for the answers, and ${error.retryAfterSeconds} s.`;
      return reply
        .status(429)
        .header('retry-after', String(error.retryAfterSeconds))
        .send(problem(429, 'too-many-requests', message));
    }
    const crowded = crowdedOut(error);
    if (crowded !== undefined) {
      const { status, message } = refusals[crowded];
      return reply.status(status).send(problem(status, crowded, message));
    }
    if (error instanceof StoreError) {
      request.log.error({ err: error }, 'the store failed');
      const message =
        error.effect === 'none'
          ? 'The shop cannot reach its store, and nothing came of this request. Try again in a moment.'
          : 'The shop lost its store in the middle of this request. Look whether it took effect before trying again.';
      return reply
        .status(503)
        .header('retry-after', '1')
        .send(problem(503, 'store-unavailable', message));
    }
    const { statusCode, message } = Object(error) as { statusCode?: number; message?: string };
    const code = statusCode === undefined ? undefined : INPUT_CODES[statusCode];
    if (statusCode !== undefined && code !== undefined) {
      return reply.status(statusCode).send(problem(statusCode, code, message ?? code));
    }
    request.log.error({ err: error }, 'unexpected failure');
    return reply.status(500).send(problem(500, 'internal-error', 'Something went wrong on our side.'));
  });
}
