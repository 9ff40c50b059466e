import { refused } from 'pawl';
import Type, { type Static } from 'typebox';
import Value from 'typebox/value';
import { Agent, type Dispatcher, request } from 'undici';
import { isDeclined, isMisconfigured } from './classify.ts';
import { judgeCancelError, judgeCanceled, judgeLookUpError, judgePayment } from './judge.ts';
import {
  type PaymentProvider,
  PaymentRecordsError,
  type PaymentRequest,
  type PaymentTransaction,
  type TransactionPage,
  type UnknownCharge,
} from './provider.ts';

export interface TossClientOptions {
  /** From the configuration alone, never from a request. */
  readonly baseUrl: string;
  readonly secretKey: string;
  /** From the first byte sent to the last byte read, in milliseconds. */
  readonly timeoutMs: number;
  /** Told when the provider refuses our credentials: every payment is unknown until somebody mends them. */
  onMisconfigured(code: string): void;
}

/** Far more than any answer about one payment has. */
const LARGEST_ANSWER_BYTES = 256 * 1024;
/** Transactions on a page, of some hundred bytes each. */
const PAGE = 100;

const errorSchema = Type.Object({
  code: Type.String({ pattern: '^[\\x21-\\x7e]{1,64}$' }),
  message: Type.String(),
});
/** A page can be turned by the key of its last transaction, whatever else is in it. */
const pageSchema = Type.Array(
  Type.Object({ transactionKey: Type.String({ pattern: '^[\\x21-\\x7e]{1,100}$' }) }),
  {
    maxItems: PAGE,
  },
);
const transactionSchema = Type.Object({
  transactionKey: Type.String(),
  paymentKey: Type.String({ pattern: '^[\\x21-\\x7e]{1,200}$' }),
  orderId: Type.String({ pattern: '^[\\x21-\\x7e]{1,64}$' }),
  status: Type.Union([Type.Literal('DONE'), Type.Literal('CANCELED'), Type.Literal('PARTIAL_CANCELED')]),
  amount: Type.Integer(),
  currency: Type.String({ pattern: '^[A-Z]{3}$' }),
});

interface Message {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** An error of the provider's: its code, or ours where what it said could not be read. */
interface ProviderError {
  readonly code: string;
  readonly message: string;
}

/** What came of an exchange. */
type Exchanged =
  | { readonly kind: 'answered'; readonly body: unknown }
  | { readonly kind: 'error'; readonly error: ProviderError }
  | { readonly kind: 'not-sent' | 'no-answer'; readonly code: string };

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

  async function exchange({ method, path, headers, body }: Message): Promise<Exchanged> {
    try {
      const answer = await request(`${options.baseUrl}${path}`, {
        dispatcher: agent,
        method,
        signal: AbortSignal.timeout(options.timeoutMs),
        headers: {
          authorization,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      return read(answer.statusCode, parseJson(await answer.body.text()));
    } catch (error) {
      return wasNotSent(error)
        ? { kind: 'not-sent', code: codeOf(error) ?? 'NOT_CONNECTED' }
        : { kind: 'no-answer', code: 'NO_ANSWER' };
    }
  }

  function read(status: number, body: unknown): Exchanged {
    if (status === 200) return { kind: 'answered', body };
    if (!Value.Check(errorSchema, body)) {
      return { kind: 'error', error: { code: 'UNREADABLE_ANSWER', message: '' } };
    }
    if (isMisconfigured(body.code)) options.onMisconfigured(body.code);
    return { kind: 'error', error: body };
  }

  function unknownCharge(code: string, payment: PaymentRequest): UnknownCharge {
    return {
      outcome: 'unknown',
      code,
      async resolve() {
        const found = await client.lookUp(payment);
        if (found.outcome === 'done') return found;
        return unknownCharge(found.outcome === 'unknown' ? found.code : 'NOT_CAPTURED', payment);
      },
    };
  }

  const paymentPath = ({ paymentKey }: PaymentRequest) => `/v1/payments/${encodeURIComponent(paymentKey)}`;
  const lookUp = (payment: PaymentRequest) =>
    exchange({ method: 'GET', path: paymentPath(payment), headers: headersOf(payment) });

  const client: PaymentProvider & { close(): Promise<void> } = {
    async confirm(payment) {
      const { paymentKey, orderId, amount } = payment;
      const exchanged = await exchange({
        method: 'POST',
        path: '/v1/payments/confirm',
        headers: headersOf(payment),
        body: { paymentKey, orderId, amount },
      });
      switch (exchanged.kind) {
        case 'not-sent':
          return { ...refused('overloaded'), code: exchanged.code };
        case 'no-answer':
          return unknownCharge(exchanged.code, payment);
        case 'error': {
          const { code, message } = exchanged.error;
          return isDeclined(code) ? { ...refused('declined'), code, message } : unknownCharge(code, payment);
        }
        case 'answered': {
          const found = judgePayment(payment, exchanged.body);
          return found.outcome === 'done' ? found : unknownCharge('FOREIGN_ANSWER', payment);
        }
      }
    },

    async lookUp(payment) {
      const exchanged = await lookUp(payment);
      if (exchanged.kind === 'answered') return judgePayment(payment, exchanged.body);
      if (exchanged.kind === 'error') return judgeLookUpError(exchanged.error.code);
      return { outcome: 'unknown', code: exchanged.code };
    },

    async cancel({ reason, ...payment }) {
      const exchanged = await exchange({
        method: 'POST',
        path: `${paymentPath(payment)}/cancel`,
        headers: headersOf(payment),
        body: { cancelReason: reason },
      });
      if (exchanged.kind === 'error') return judgeCancelError(exchanged.error.code);
      if (exchanged.kind !== 'answered') return { outcome: 'unknown', code: exchanged.code };
      const found = judgeCanceled(payment, exchanged.body);
      return found.outcome === 'done' ? { outcome: 'done' } : { outcome: 'unknown', code: 'FOREIGN_ANSWER' };
    },

    async lookUpCancel(payment) {
      const exchanged = await lookUp(payment);
      if (exchanged.kind === 'answered') return judgeCanceled(payment, exchanged.body);
      if (exchanged.kind === 'error') return judgeLookUpError(exchanged.error.code);
      return { outcome: 'unknown', code: exchanged.code };
    },

    async *transactions(from, to) {
      let startingAfter: string | undefined;
      for (;;) {
        const query = new URLSearchParams({
          startDate: from.toISOString(),
          endDate: to.toISOString(),
          limit: String(PAGE),
          ...(startingAfter === undefined ? {} : { startingAfter }),
        });
        const exchanged = await exchange({ method: 'GET', path: `/v1/transactions?${query}` });
        if (exchanged.kind === 'error') throw new PaymentRecordsError(exchanged.error.code);
        if (exchanged.kind !== 'answered') throw new PaymentRecordsError(exchanged.code);
        if (!Value.Check(pageSchema, exchanged.body)) throw new PaymentRecordsError('UNREADABLE_ANSWER');
        yield pageOf(exchanged.body);
        const last = exchanged.body.at(-1);
        if (last === undefined || exchanged.body.length < PAGE) return;
        startingAfter = last.transactionKey;
      }
    },

    close: () => agent.close(),
  };
  return client;
}

function headersOf({ requestId, testCode, idempotencyKey }: PaymentRequest): Record<string, string> {
  return {
    'x-request-id': requestId,
    ...(testCode === undefined ? {} : { 'tosspayments-test-code': testCode }),
    ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
  };
}

/** One that cannot be read keeps nobody from reading the others. */
function pageOf(body: Static<typeof pageSchema>): TransactionPage {
  const transactions: PaymentTransaction[] = [];
  const unreadable: string[] = [];
  for (const found of body) {
    if (!Value.Check(transactionSchema, found)) {
      unreadable.push(found.transactionKey);
      continue;
    }
    const { transactionKey, paymentKey, orderId, amount, currency, status } = found;
    const kind = status === 'DONE' ? 'capture' : 'refund';
    transactions.push({ transactionKey, paymentKey, orderId, amount, currency, kind });
  }
  return { transactions, unreadable };
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
