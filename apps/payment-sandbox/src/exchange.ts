import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Answer, answerToError, KeyRefusedError, refusal, testAnswer } from './answer.ts';
import type { Clock } from './clock.ts';
import type { EventOf, Operation } from './events.ts';
import { deliver, type Mishap } from './faults/deliver.ts';
import type { AnswerFault } from './faults/rule.ts';
import type { FaultRules, Strike, Target } from './faults/rules.ts';
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
   * The fault rules are asked when the decision falls, after the waiting time. A fault before it takes the
   * decision's place, and is the answer; one that is slow puts it off, and no rule is asked again. A fault after it
   * hides the true answer, or delays it. An idempotency key keeps the true answer, or the error that took its
   * place; any other fault before the decision frees the key. A stored answer that is given again meets the
   * rules for after the decision only; the refusals that decide nothing (a key that is at work, or too long)
   * meet none.
   *
   * @param decide  Runs when the answer falls, in one go with what it appends.
   */
  answer(
    request: FastifyRequest,
    reply: FastifyReply,
    subject: Subject,
    decide: (decision: Decision, target: Target) => Answer,
  ): Promise<void>;
  /** An error handler for a route: what reaches it had no secret key, or never became a well-formed request. */
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
  faultRules: FaultRules;
  /** Aborted when the sandbox closes: it ends the waits that rules ask for. */
  closing: AbortSignal;
}

/** An answer, and what happens to it on its way. */
interface Outcome {
  readonly answer: Answer;
  readonly mishap?: Mishap;
}

/** How one request is decided when nothing goes wrong, and what of it a repeat shall hear. */
interface Question {
  readonly target: Target;
  decide(decision: Decision): Answer;
  keep(decision: Decision, answer: Answer): void;
}

/** What is spoilt where nothing was decided. Its status promises a success, which it is not. */
const UNDECIDED: Answer = { ...refusal('FAILED_INTERNAL_SYSTEM_PROCESSING'), status: 200 };

export function createExchange(options: ExchangeOptions): Exchange {
  const { ledger, idempotencyKeys, clock, faultRules, closing } = options;
  const apiKeyDigest = digestOf(options.secretKey);

  function record(
    request: FastifyRequest,
    subject: Subject,
    rest: { wellFormed: boolean; keyRefused?: true },
  ) {
    ledger.write(({ append }) =>
      append({
        type: 'request',
        ...subject,
        ...rest,
        idempotencyKey: headerOf(request, 'idempotency-key'),
        requestId: headerOf(request, 'x-request-id'),
        testCode: headerOf(request, 'tosspayments-test-code'),
      }),
    );
  }

  async function settle(
    request: FastifyRequest,
    subject: Subject,
    decide: (decision: Decision, target: Target) => Answer,
  ): Promise<Outcome> {
    const testCode = headerOf(request, 'tosspayments-test-code');
    const target = { ...subject, requestId: headerOf(request, 'x-request-id') };
    const question: Question = {
      target,
      decide: (decision) => (testCode === null ? decide(decision, target) : testAnswer(testCode)),
      keep: () => undefined,
    };
    if (request.method !== 'POST') return await answerUnderFaults(question);

    const idempotencyKey = headerOf(request, 'idempotency-key');
    if (idempotencyKey === null || !options.honoursIdempotencyKeys) {
      await clock.sleep(options.nextLatencyMs());
      return await answerUnderFaults(question);
    }
    if (idempotencyKey.length > MAX_KEY_LENGTH) return { answer: refusal('INVALID_IDEMPOTENCY_KEY') };
    const { method, url } = request;
    return await settleUnderKey({ idempotencyKey, apiKeyDigest, method, url }, question);
  }

  async function settleUnderKey(scope: IdempotencyScope, question: Question): Promise<Outcome> {
    const claim = idempotencyKeys.claim(scope, clock.nowMs());
    if (claim.outcome === 'in-flight') return { answer: refusal('IDEMPOTENT_REQUEST_PROCESSING') };
    if (claim.outcome === 'replay') {
      const strike = faultRules.strike(question.target, 'after');
      if (strike !== undefined) ledger.write(strike.record);
      return hide(claim.answer, strike?.fault);
    }
    try {
      await clock.sleep(options.nextLatencyMs());
      // The answer is stored in the decision that it stands for: a crash between the two would capture
      // once more when the request is repeated.
      const keep = (decision: Decision, answer: Answer) => {
        if (answer.status < 400 || options.replayErrors) decision.append(claim.complete(answer));
      };
      return await answerUnderFaults({ ...question, keep });
    } finally {
      claim.release();
    }
  }

  async function answerUnderFaults(question: Question): Promise<Outcome> {
    const outcome = ledger.write((decision) => {
      const strike = faultRules.strike(question.target);
      return strike?.when === 'before'
        ? preempt(question, decision, strike)
        : conclude(question, decision, strike);
    });
    if (!('postponedMs' in outcome)) return outcome;
    await clock.sleep(outcome.postponedMs, closing);
    // As after a crash: nothing was decided, and nobody is told.
    if (closing.aborted) return { answer: UNDECIDED, mishap: { kind: 'hang' } };
    return ledger.write((decision) => conclude(question, decision));
  }

  function conclude({ decide, keep }: Question, decision: Decision, strike?: Strike): Outcome {
    const answer = decide(decision);
    keep(decision, answer);
    strike?.record(decision);
    return hide(answer, strike?.fault);
  }

  function preempt(
    { keep }: Question,
    decision: Decision,
    strike: Strike,
  ): Outcome | { postponedMs: number } {
    const { fault } = strike;
    strike.record(decision);
    if (fault.kind === 'slow') return { postponedMs: fault.delayMs };
    const outcome = hide(UNDECIDED, fault);
    if (outcome.mishap === undefined) keep(decision, outcome.answer);
    return outcome;
  }

  /** Answers with what `work` returns, or with a 500 when the ledger cannot vouch for it. */
  async function respond(
    request: FastifyRequest,
    reply: FastifyReply,
    work: () => Outcome | Promise<Outcome>,
  ): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await work();
      await ledger.synced();
    } catch (error) {
      request.log.error(error);
      outcome = { answer: refusal('FAILED_INTERNAL_SYSTEM_PROCESSING') };
    }
    await deliver(request, reply, outcome.answer, outcome.mishap, { clock, closing });
  }

  return {
    answer: (request, reply, subject, decide) =>
      respond(request, reply, () => {
        record(request, subject, { wellFormed: true });
        return settle(request, subject, decide);
      }),
    refuseMalformed: (operation) => (error, request, reply) =>
      respond(request, reply, () => {
        const keyRefused = error instanceof KeyRefusedError ? ({ keyRefused: true } as const) : {};
        record(request, { operation, ...readable(request) }, { wellFormed: false, ...keyRefused });
        return { answer: answerToError(error) };
      }),
  };
}

/** What the client gets of an answer. */
function hide(answer: Answer, fault: AnswerFault | undefined): Outcome {
  if (fault === undefined) return { answer };
  if (fault.kind === 'code') return { answer: refusal(fault.code) };
  if (fault.kind === 'status')
    return { answer: { ...refusal('FAILED_INTERNAL_SYSTEM_PROCESSING'), status: fault.status } };
  return { answer, mishap: fault };
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
