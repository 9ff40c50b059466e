import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Answer, answerToError, refusal, send, testAnswer } from './answer.ts';
import type { Clock } from './clock.ts';
import type { EventOf, Operation } from './events.ts';
import { digestOf, type IdempotencyKeys, type IdempotencyScope, MAX_KEY_LENGTH } from './idempotency.ts';
import type { Decision, Ledger } from './ledger.ts';

/** What a well-formed request is about, as the ledger records it. */
export type Subject = Pick<EventOf<'request'>, 'operation' | 'paymentKey' | 'orderId' | 'amount'>;

/** The one place where a request to the provider's API is recorded and answered. */
export interface Exchange {
  /**
   * Records the request, decides it, and answers once all of that is on the disk. A client that goes away
   * changes nothing: the money moves as it would have.
   *
   * @param decide  Runs when the answer falls, in one go with what it appends.
   */
  answer(
    request: FastifyRequest,
    reply: FastifyReply,
    subject: Subject,
    decide: (decision: Decision, requestId: string | null) => Answer,
  ): Promise<void>;
  /** An error handler for a route: what reaches it never became a well-formed request. */
  refuseMalformed(
    operation: Operation,
  ): (error: Error, request: FastifyRequest, reply: FastifyReply) => Promise<void>;
}

export interface ExchangeOptions {
  ledger: Ledger;
  idempotencyKeys: IdempotencyKeys;
  clock: Clock;
  /** Draws the next waiting time, in milliseconds. */
  nextLatencyMs(): number;
  honoursIdempotencyKeys: boolean;
  replayErrors: boolean;
  secretKey: string;
}

export function createExchange(options: ExchangeOptions): Exchange {
  const { ledger, idempotencyKeys, clock } = options;
  const apiKeyDigest = digestOf(options.secretKey);

  function record(request: FastifyRequest, subject: Subject, wellFormed: boolean): void {
    ledger.write(({ append }) =>
      append({
        type: 'request',
        ...subject,
        wellFormed,
        idempotencyKey: headerOf(request, 'idempotency-key'),
        requestId: headerOf(request, 'x-request-id'),
        testCode: headerOf(request, 'tosspayments-test-code'),
      }),
    );
  }

  async function settle(
    request: FastifyRequest,
    decide: (decision: Decision, requestId: string | null) => Answer,
  ): Promise<Answer> {
    const testCode = headerOf(request, 'tosspayments-test-code');
    const requestId = headerOf(request, 'x-request-id');
    const outcome = (decision: Decision) =>
      testCode === null ? decide(decision, requestId) : testAnswer(testCode);
    if (request.method !== 'POST') return ledger.write(outcome);

    const idempotencyKey = headerOf(request, 'idempotency-key');
    if (idempotencyKey === null || !options.honoursIdempotencyKeys) {
      await clock.sleep(options.nextLatencyMs());
      return ledger.write(outcome);
    }
    if (idempotencyKey.length > MAX_KEY_LENGTH) return refusal('INVALID_IDEMPOTENCY_KEY');
    const { method, url } = request;
    return await settleUnderKey({ idempotencyKey, apiKeyDigest, method, url }, outcome);
  }

  async function settleUnderKey(
    scope: IdempotencyScope,
    outcome: (decision: Decision) => Answer,
  ): Promise<Answer> {
    const claim = idempotencyKeys.claim(scope, clock.nowMs());
    if (claim.outcome === 'in-flight') return refusal('IDEMPOTENT_REQUEST_PROCESSING');
    if (claim.outcome === 'replay') return claim.answer;
    try {
      await clock.sleep(options.nextLatencyMs());
      // The answer is stored in the decision that it stands for: a crash between the two would capture
      // once more when the request is repeated.
      return ledger.write((decision) => {
        const answer = outcome(decision);
        if (answer.status < 400 || options.replayErrors) decision.append(claim.complete(answer));
        return answer;
      });
    } finally {
      claim.release();
    }
  }

  /** Answers with what `work` returns, or with a 500 when the ledger cannot vouch for it. */
  async function respond(
    request: FastifyRequest,
    reply: FastifyReply,
    work: () => Answer | Promise<Answer>,
  ): Promise<void> {
    let answer: Answer;
    try {
      answer = await work();
      await ledger.synced();
    } catch (error) {
      request.log.error(error);
      answer = refusal('FAILED_INTERNAL_SYSTEM_PROCESSING');
    }
    await send(reply, answer);
  }

  return {
    answer: (request, reply, subject, decide) =>
      respond(request, reply, () => {
        record(request, subject, true);
        return settle(request, decide);
      }),
    refuseMalformed: (operation) => (error, request, reply) =>
      respond(request, reply, () => {
        record(request, { operation, ...readable(request) }, false);
        return answerToError(error);
      }),
  };
}

function headerOf(request: FastifyRequest, name: string): string | null {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** What a malformed request still says about its subject. */
function readable(request: FastifyRequest): Omit<Subject, 'operation'> {
  const fields: Record<string, unknown> = {
    ...(typeof request.body === 'object' ? request.body : {}),
    ...(typeof request.params === 'object' ? request.params : {}),
  };
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  const amount = fields.amount ?? fields.cancelAmount;
  return {
    paymentKey: text(fields.paymentKey),
    orderId: text(fields.orderId),
    amount: typeof amount === 'number' && Number.isSafeInteger(amount) ? amount : null,
  };
}
