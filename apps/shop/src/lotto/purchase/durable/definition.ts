import {
  type Answer,
  type Compensation,
  type DurableCallDefinition,
  done,
  type OutwardCall,
  type ReleaseReason,
  refused,
} from 'pawl';
import type { CapturedPayment, PaymentProvider, PaymentRequest } from '../../../payment/provider.ts';
import type { Bill } from '../../bill.ts';
import type { PaymentAttempt, PurchaseRows, ReleaseNote } from './rows.ts';

/** All instances of the shop share the calls of this name. */
export const PURCHASE = 'purchase';

/** What it takes to charge an attempt, by whoever holds it. */
export type ChargeRequest = {
  readonly orderId: string;
  readonly lottoPublishId: number;
  readonly memberId: number;
  readonly lottoRoundInfoId: number;
  readonly paymentKey: string;
  readonly amount: number;
  readonly currency: string;
  readonly requestId: string;
  /** The attempt's number in its order: that of a stray capture is not the number of its call. */
  readonly attempt: number;
  /** Of a capture that no attempt will settle: the order's own state is left alone. */
  readonly isStray: boolean;
  readonly testCode: string | null;
};

export type ChargeValue = {
  readonly paymentKey: string;
  readonly orderId: string;
  readonly totalAmount: number;
  readonly currency: string;
  readonly method: string;
};

/** What the member is answered with, now and whenever he sends the same request again. */
export interface PurchaseAnswers {
  billed(bill: Bill): Answer;
  /** Nothing was charged. `code`: the provider's, where it gave one. */
  notPaid(code: string | null): Answer;
  /** It was charged, and given back. */
  refunded(): Answer;
}

export interface PurchaseDefinitionOptions<Transaction> {
  readonly provider: PaymentProvider;
  readonly rows: PurchaseRows<Transaction>;
  readonly answers: PurchaseAnswers;
  /** Whether the provider honours idempotency keys. */
  readonly isIdempotent: boolean;
  /** Of this instance: every change of a status is audited with it. */
  readonly serverName: string;
}

/**
 * The purchase as a durable call: claim, charge, settle; what nobody heard is found out; what can no longer be completed is given
 * back. R1 to R8 are the library's; here stand what is sent, what is believed, and what is written.
 */
export function purchaseDefinition<Transaction>({
  provider,
  rows,
  answers,
  isIdempotent,
  serverName,
}: PurchaseDefinitionOptions<Transaction>): DurableCallDefinition<Transaction, ChargeRequest, ChargeValue> {
  const attemptOf = attemptsBy(serverName);
  // Provider and member may ask for different sums, so what was captured is what is given back.
  const compensation: Compensation<Transaction, ChargeRequest, ChargeValue> = {
    name: 'refund',
    send: (call) =>
      provider.cancel({
        ...paymentOf(call),
        idempotencyKey: call.token,
        reason: `refund of ${call.subject}`,
      }),
    lookUp: (call) => provider.lookUpCancel(paymentOf(call)),
    began: async (transaction, call) =>
      call.request.isStray
        ? refused('not-eligible')
        : rows.beginRefund(transaction, attemptOf(call), 'PENDING'),
    async ended(transaction, call) {
      const { isStray, paymentKey } = call.request;
      if (isStray) await rows.endStrayRefund(transaction, paymentKey);
      else await rows.endRefund(transaction, attemptOf(call));
      return answers.refunded();
    },
  };

  return {
    name: PURCHASE,
    repeat: isIdempotent ? 'idempotent' : 'never',

    async send(call) {
      const { testCode } = call.request;
      const charged = await provider.confirm({
        ...paymentOf(call),
        idempotencyKey: call.token,
        ...(testCode === null ? {} : { testCode }),
      });
      if (charged.outcome === 'done') return { outcome: 'done', value: chargeValueOf(charged.value) };
      if (charged.outcome === 'unknown') return { outcome: 'unknown', code: charged.code };
      return { outcome: charged.reason === 'declined' ? 'refused' : 'not-sent', code: charged.code };
    },

    async lookUp(call) {
      const found = await provider.lookUp(paymentOf(call));
      return found.outcome === 'done' ? { outcome: 'done', value: chargeValueOf(found.value) } : found;
    },

    async settle(transaction, call, value) {
      // An operator has said that it may stay.
      if (call.request.isStray) return done(answers.refunded());
      const completed = await rows.complete(transaction, attemptOf(call), paymentIn(call, value));
      return completed.outcome === 'done' ? done(answers.billed(completed.value)) : completed;
    },

    async release(transaction, call, why) {
      const note = noteOf(why);
      if (!call.request.isStray) await rows.release(transaction, attemptOf(call), note);
      return answers.notPaid(note.code);
    },

    forget: (transaction, call, code) =>
      rows.release(transaction, attemptOf(call), { outcome: 'not-sent', code }),

    compensation,
  };
}

/** @param serverName  Whose changes of a status they are. */
export function attemptsBy(
  serverName: string,
): (call: { readonly request: ChargeRequest }) => PaymentAttempt {
  return ({ request }) => ({
    orderId: request.orderId,
    lottoPublishId: request.lottoPublishId,
    memberId: request.memberId,
    lottoRoundInfoId: request.lottoRoundInfoId,
    attempt: request.attempt,
    paymentKey: request.paymentKey,
    actor: { strategy: 'durable', instance: serverName, requestId: request.requestId },
  });
}

function noteOf(why: ReleaseReason): ReleaseNote {
  switch (why.reason) {
    case 'declined':
      return { outcome: 'declined', code: why.code };
    case 'not-found':
      return { outcome: 'not-captured', code: why.code ?? null };
    case 'operator':
      return { outcome: 'not-captured', code: null };
  }
}

function paymentOf({ request }: OutwardCall<ChargeRequest>): PaymentRequest {
  const { paymentKey, orderId, amount, currency, requestId } = request;
  return { paymentKey, orderId, amount, currency, requestId };
}

/** As JSON, and nothing else. */
function chargeValueOf({ paymentKey, orderId, totalAmount, currency, method }: CapturedPayment): ChargeValue {
  return { paymentKey, orderId, totalAmount, currency, method };
}

/**
 * What is written into the bill: what was asked for, which is what any payment that is ours has been compared with. The value may be an
 * operator's word, which nobody has compared.
 */
export function paymentIn(
  { request }: OutwardCall<ChargeRequest>,
  value: ChargeValue | null,
): CapturedPayment {
  const { paymentKey, orderId, amount: totalAmount, currency } = request;
  const method: unknown = value?.method;
  return {
    paymentKey,
    orderId,
    totalAmount,
    currency,
    method: typeof method === 'string' ? method : 'UNKNOWN',
  };
}
