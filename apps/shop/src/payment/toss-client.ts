import { done, refused } from 'pawl';
import Type, { type Static } from 'typebox';
import Value from 'typebox/value';
import { Agent, type Dispatcher, request } from 'undici';
import { isDeclined, isMisconfigured } from './classify.ts';
import type { ChargeOutcome, PaymentProvider, PaymentRequest, UnknownCharge } from './provider.ts';

export interface TossClientOptions {
  /** From the configuration alone, never from a request. */
  readonly baseUrl: string;
  readonly secretKey: string;
  /** From the first byte sent to the last byte read, in milliseconds. */
  readonly timeoutMs: number;
  /** Told when the provider refuses our credentials: every payment is unknown until somebody mends them. */
  onMisconfigured(code: string): void;
}

/** Far more than any answer of this API has. */
const LARGEST_ANSWER_BYTES = 256 * 1024;

const paymentSchema = Type.Object({
  status: Type.String(),
  paymentKey: Type.String(),
  orderId: Type.String(),
  totalAmount: Type.Integer(),
  currency: Type.String(),
  method: Type.Union([Type.String({ maxLength: 32 }), Type.Null()]),
});
const errorSchema = Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String() });

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/**
 * A client of the payment provider's API (Toss Payments v1).
 *
 * It sends each confirmation once and follows no redirect. Only three things are believed: an answer that the
 * payment is DONE *and ours*, a code from the closed list of declines, and a connection that never came about.
 */
export function tossClient(options: TossClientOptions): PaymentProvider & { close(): Promise<void> } {
  const agent = new Agent({
    pipelining: 1,
    connect: { timeout: options.timeoutMs },
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    maxResponseSize: LARGEST_ANSWER_BYTES,
  });
  const authorization = `Basic ${Buffer.from(`${options.secretKey}:`).toString('base64')}`;

  async function send(method: Dispatcher.HttpMethod, path: string, payment: PaymentRequest, body?: object) {
    const answer = await request(`${options.baseUrl}${path}`, {
      dispatcher: agent,
      method,
      signal: AbortSignal.timeout(options.timeoutMs),
      headers: {
        authorization,
        'x-request-id': payment.requestId,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(payment.testCode === undefined ? {} : { 'tosspayments-test-code': payment.testCode }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: parseJson(text) } satisfies Answer;
  }

  function unknownCharge(code: string, payment: PaymentRequest): UnknownCharge {
    return {
      outcome: 'unknown',
      code,
      async resolve() {
        const found = await client.lookUp(payment);
        // That the question was not heard says nothing about the payment.
        return found.outcome === 'refused' ? unknownCharge(found.code, payment) : found;
      },
    };
  }

  async function ask(
    payment: PaymentRequest,
    exchange: () => Promise<Answer>,
  ): Promise<Answer | ChargeOutcome> {
    try {
      return await exchange();
    } catch (error) {
      return wasNotSent(error)
        ? { ...refused('overloaded'), code: codeOf(error) ?? 'NOT_CONNECTED' }
        : unknownCharge('NO_ANSWER', payment);
    }
  }

  const client: PaymentProvider & { close(): Promise<void> } = {
    async confirm(payment) {
      const { paymentKey, orderId, amount } = payment;
      const answer = await ask(payment, () =>
        send('POST', '/v1/payments/confirm', payment, { paymentKey, orderId, amount }),
      );
      if ('outcome' in answer) return answer;
      if (answer.status === 200)
        return captured(payment, answer.body) ?? unknownCharge('FOREIGN_ANSWER', payment);
      if (!Value.Check(errorSchema, answer.body)) return unknownCharge('UNREADABLE_ANSWER', payment);
      const { code, message } = answer.body;
      if (isMisconfigured(code)) options.onMisconfigured(code);
      return isDeclined(code) ? { ...refused('declined'), code, message } : unknownCharge(code, payment);
    },

    async lookUp(payment) {
      const answer = await ask(payment, () =>
        send('GET', `/v1/payments/${encodeURIComponent(payment.paymentKey)}`, payment),
      );
      if ('outcome' in answer) return answer;
      // Not found, or not captured, or not ours: the confirmation may still be on its way, so it stays unknown.
      if (answer.status === 200)
        return captured(payment, answer.body) ?? unknownCharge('NOT_CAPTURED', payment);
      if (!Value.Check(errorSchema, answer.body)) return unknownCharge('UNREADABLE_ANSWER', payment);
      if (isMisconfigured(answer.body.code)) options.onMisconfigured(answer.body.code);
      return unknownCharge(answer.body.code, payment);
    },

    close: () => agent.close(),
  };
  return client;
}

/** The captured payment, if the answer shows one and it is this one: same key, order, amount and currency. */
function captured(payment: PaymentRequest, body: unknown) {
  if (!Value.Check(paymentSchema, body)) return undefined;
  const found: Static<typeof paymentSchema> = body;
  const ours =
    found.status === 'DONE' &&
    found.paymentKey === payment.paymentKey &&
    found.orderId === payment.orderId &&
    found.totalAmount === payment.amount &&
    found.currency === payment.currency;
  if (!ours) return undefined;
  return done({
    paymentKey: found.paymentKey,
    orderId: found.orderId,
    totalAmount: found.totalAmount,
    currency: found.currency,
    method: found.method ?? 'UNKNOWN',
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the connection itself failed, by the system call that reported it: not a byte was sent then. */
function wasNotSent(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(wasNotSent);
  if (codeOf(error) === 'UND_ERR_CONNECT_TIMEOUT') return true;
  const { syscall } = Object(error) as { syscall?: unknown };
  return syscall === 'connect' || syscall === 'getaddrinfo';
}

function codeOf(error: unknown): string | undefined {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}
