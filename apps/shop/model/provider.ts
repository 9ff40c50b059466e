import type { PaymentTransaction } from '../src/payment/provider.ts';
import type { Clock } from './clock.ts';
import type { Counts } from './counts.ts';
import { AMOUNT, CURRENCY } from './rows.ts';

/** What the provider does of all that its documentation allows. */
export interface ProviderRules {
  readonly honoursKeys: boolean;
  /** Whether an error, too, is given again under its key. */
  readonly replaysErrors: boolean;
  /** Whether a payment that was captured is refused, and whether that is looked at before its session. */
  readonly guards: 'never' | 'after-session' | 'before-session';
  readonly lookUpLagMs: number;
}

export interface Capture {
  readonly at: number;
  /** The request of the shop's that asked for it. */
  readonly requestId: string;
  /** Its idempotency key. */
  readonly under: string | undefined;
  refundedAt: number | undefined;
}

export interface Payment {
  readonly paymentKey: string;
  /** What its session binds it to. */
  readonly orderId: string;
  readonly endsAt: number;
  /** The card company says no to it, now and always. */
  readonly isDeclined: boolean;
  readonly captures: Capture[];
}

/** Who is told of money, at the moment that it moves. */
export interface LedgerObserver {
  captured(payment: Payment, capture: Capture): void;
  refunded(payment: Payment, forOrder: string): void;
}

export interface ConfirmRequest {
  readonly paymentKey: string;
  readonly orderId: string;
  readonly requestId: string;
}

/** `madeFor`: the payment key of the request that it answered first; an answer that is given again may not be for whom it reaches. */
export type ProviderAnswer =
  | { readonly body: object; readonly madeFor: string }
  | { readonly code: string; readonly madeFor: string };

/** What may happen to a request that arrives. `takes its time`: it has begun, and will be gone on with when it arrives again. */
export type ProviderFault = 'declined this time' | 'error before' | 'error after' | 'takes its time';
export const cancelFaults: readonly ProviderFault[] = ['error before', 'error after', 'takes its time'];
export const confirmFaults: readonly ProviderFault[] = ['declined this time', ...cancelFaults];

/** A request as it arrives at the provider. */
export interface Arrival {
  readonly idempotencyKey: string | undefined;
  readonly fault: ProviderFault | undefined;
  /** It has arrived before, and was begun. */
  readonly isGoneOnWith: boolean;
}

const IN_PROGRESS = 'IN_PROGRESS';

/** The payment provider: its own ledger, its own sessions, in another place. */
export class ModelProvider {
  readonly payments = new Map<string, Payment>();
  readonly #clock: Clock;
  readonly #rules: ProviderRules;
  readonly #counts: Counts;
  readonly #observer: LedgerObserver;
  readonly #recorded = new Map<string, ProviderAnswer>();
  readonly #inFlight = new Set<string>();

  constructor(clock: Clock, rules: ProviderRules, counts: Counts, observer: LedgerObserver) {
    this.#clock = clock;
    this.#rules = rules;
    this.#counts = counts;
    this.#observer = observer;
  }

  openSession(paymentKey: string, orderId: string, lengthMs: number, isDeclined: boolean): void {
    const endsAt = this.#clock.now + lengthMs;
    this.payments.set(paymentKey, { paymentKey, orderId, endsAt, isDeclined, captures: [] });
  }

  /** @returns undefined when it has only begun. */
  confirm(request: ConfirmRequest, arrival: Arrival): ProviderAnswer | undefined {
    return this.#once('confirm', request.paymentKey, arrival, () => this.#confirm(request, arrival));
  }

  /** @returns undefined when it has only begun. */
  cancel(paymentKey: string, forOrder: string, arrival: Arrival): ProviderAnswer | undefined {
    return this.#once(`cancel ${paymentKey}`, paymentKey, arrival, () =>
      this.#cancel(paymentKey, forOrder, arrival),
    );
  }

  lookUp(paymentKey: string): ProviderAnswer {
    const payment = this.payments.get(paymentKey);
    if (payment === undefined) return error('NOT_FOUND_PAYMENT', paymentKey);
    return { body: bodyOf(payment, this.#shown(payment)), madeFor: paymentKey };
  }

  /** The order's payment that was captured last, of those that are to be seen. */
  lookUpOrder(orderId: string): ProviderAnswer {
    const ofOrder = [...this.payments.values()].filter((payment) => payment.orderId === orderId);
    const captured = ofOrder.filter((payment) => this.#shown(payment) !== IN_PROGRESS);
    const last = captured.sort((a, b) => Number(b.captures[0]?.at) - Number(a.captures[0]?.at))[0];
    return last === undefined ? error('NOT_FOUND_PAYMENT', '') : this.lookUp(last.paymentKey);
  }

  transactions(): readonly PaymentTransaction[] {
    const shown = [...this.payments.values()].filter((payment) => this.#shown(payment) !== IN_PROGRESS);
    return shown.map(({ paymentKey, orderId }) => ({
      transactionKey: paymentKey,
      paymentKey,
      orderId,
      kind: 'capture',
      amount: AMOUNT,
      currency: CURRENCY,
    }));
  }

  /** Under a key that is honoured, what has been answered is not done again. */
  #once(
    url: string,
    paymentKey: string,
    { idempotencyKey, fault, isGoneOnWith }: Arrival,
    decide: () => ProviderAnswer,
  ): ProviderAnswer | undefined {
    const isKeyed = this.#rules.honoursKeys && idempotencyKey !== undefined;
    const key = `${url} ${idempotencyKey}`;
    if (isKeyed && !isGoneOnWith) {
      const recorded = this.#recorded.get(key);
      if (recorded !== undefined) {
        this.#counts.saw('answer given again under its key');
        return recorded;
      }
      if (this.#inFlight.has(key)) {
        this.#counts.saw('sent again while the first is worked on');
        return error('IDEMPOTENT_REQUEST_PROCESSING', paymentKey);
      }
    }
    if (fault === 'takes its time' && !isGoneOnWith) {
      this.#inFlight.add(key);
      return undefined;
    }
    this.#inFlight.delete(key);
    const answer = decide();
    if (isKeyed && ('body' in answer || this.#rules.replaysErrors)) this.#recorded.set(key, answer);
    return answer;
  }

  #confirm(request: ConfirmRequest, { fault, idempotencyKey }: Arrival): ProviderAnswer {
    const { paymentKey, orderId, requestId } = request;
    const no = (code: string) => error(code, paymentKey);
    const payment = this.payments.get(paymentKey);
    const { guards } = this.#rules;
    if (fault === 'error before') return no('FAILED_INTERNAL_SYSTEM_PROCESSING');
    if (payment === undefined) return no('NOT_FOUND_PAYMENT_SESSION');
    const isRepeated = payment.captures.length > 0;
    if (isRepeated && guards === 'before-session') return no('ALREADY_PROCESSED_PAYMENT');
    if (payment.orderId !== orderId) return no('INVALID_REQUEST');
    if (isRepeated && guards === 'after-session') return no('ALREADY_PROCESSED_PAYMENT');
    if (this.#clock.now >= payment.endsAt) return no('NOT_FOUND_PAYMENT_SESSION');
    if (payment.isDeclined || fault === 'declined this time') return no('REJECT_CARD_COMPANY');
    // Keys are honoured if one of them captures once, whatever was answered then.
    if (this.#rules.honoursKeys && payment.captures.some((capture) => capture.under === idempotencyKey))
      return { body: bodyOf(payment, 'DONE'), madeFor: paymentKey };
    const capture: Capture = { at: this.#clock.now, requestId, under: idempotencyKey, refundedAt: undefined };
    payment.captures.push(capture);
    this.#counts.saw('captured');
    this.#observer.captured(payment, capture);
    if (fault === 'error after') return no('FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING');
    return { body: bodyOf(payment, 'DONE'), madeFor: paymentKey };
  }

  #cancel(paymentKey: string, forOrder: string, { fault }: Arrival): ProviderAnswer {
    const no = (code: string) => error(code, paymentKey);
    const payment = this.payments.get(paymentKey);
    if (fault === 'error before') return no('REFUND_REJECTED');
    if (payment === undefined || payment.captures.length === 0) return no('NOT_CANCELABLE_PAYMENT');
    if (payment.captures.every(isRefunded)) return no('ALREADY_CANCELED_PAYMENT');
    for (const capture of payment.captures) capture.refundedAt ??= this.#clock.now;
    this.#counts.saw('refunded');
    this.#observer.refunded(payment, forOrder);
    if (fault === 'error after') return no('FAILED_REFUND_PROCESS');
    return { body: bodyOf(payment, 'CANCELED'), madeFor: paymentKey };
  }

  /** The status that a look-up shows: it may lag behind. */
  #shown({ captures }: Payment): string {
    const seenUntil = this.#clock.now - this.#rules.lookUpLagMs;
    const shown = captures.filter(({ at }) => at <= seenUntil);
    if (shown.length === 0) return IN_PROGRESS;
    const stands = ({ refundedAt }: Capture) => refundedAt === undefined || refundedAt > seenUntil;
    return shown.some(stands) ? 'DONE' : 'CANCELED';
  }
}

export function isRefunded({ refundedAt }: Capture): boolean {
  return refundedAt !== undefined;
}

function error(code: string, madeFor: string): ProviderAnswer {
  return { code, madeFor };
}

function bodyOf({ paymentKey, orderId }: Payment, status: string): object {
  return { paymentKey, orderId, status, totalAmount: AMOUNT, currency: CURRENCY, method: 'CARD' };
}
