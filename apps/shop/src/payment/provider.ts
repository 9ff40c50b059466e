import type { CompensationFound, CompensationSent, Done, Refused, Unknown } from 'pawl';

/** What the shop asks of the payment provider. */
export interface PaymentProvider {
  /**
   * Asks for the payment to be captured, once: nothing is ever sent again from here.
   *
   * It does not throw for anything that the provider or the network does: what is not known to have been
   * captured or declined is `unknown`.
   */
  confirm(payment: PaymentRequest): Promise<ChargeOutcome>;
  /** Asks what became of a payment. It changes nothing, so it may be repeated. It does not throw either. */
  lookUp(payment: PaymentRequest): Promise<FoundPayment>;
  /** Asks for a captured payment to be given back in full, once. It does not throw either. */
  cancel(payment: PaymentRequest & { readonly reason: string }): Promise<CompensationSent>;
  /** Asks whether a captured payment was given back. It changes nothing. It does not throw either. */
  lookUpCancel(payment: PaymentRequest): Promise<CompensationFound>;
  /**
   * What the provider has captured and given back from `from` to `to`, by its own clock and in its order, page by page.
   *
   * @throws PaymentRecordsError  They could not be read.
   */
  transactions(from: Date, to: Date): AsyncIterable<TransactionPage>;
}

export interface PaymentRequest {
  readonly paymentKey: string;
  readonly orderId: string;
  /** In the currency's minor unit. */
  readonly amount: number;
  readonly currency: string;
  /** Lets the provider's records be joined with ours. */
  readonly requestId: string;
  /** A provider's test key answers with this error code. */
  readonly testCode?: string | undefined;
  /** What is sent twice under it is one: up to 300 characters. */
  readonly idempotencyKey?: string | undefined;
}

/** A payment that is captured, and ours: its key, order, amount and currency have been compared. */
export interface CapturedPayment {
  readonly paymentKey: string;
  readonly orderId: string;
  readonly totalAmount: number;
  readonly currency: string;
  readonly method: string;
}

/** A capture, or what was given back of one, in the provider's records. */
export interface PaymentTransaction {
  readonly transactionKey: string;
  readonly paymentKey: string;
  readonly orderId: string;
  readonly kind: 'capture' | 'refund';
  readonly amount: number;
  readonly currency: string;
}

export interface TransactionPage {
  readonly transactions: readonly PaymentTransaction[];
  /** The keys of those that say something that nobody here understands. */
  readonly unreadable: readonly string[];
}

/** The provider's records could not be read. Nothing has been changed. */
export class PaymentRecordsError extends Error {
  override readonly name = 'PaymentRecordsError';
  readonly code: string;

  constructor(code: string, options?: ErrorOptions) {
    super(`the provider's transactions cannot be read: ${code}`, options);
    this.code = code;
  }
}

/** The provider said no for good, in a code that says so. Nothing was captured. */
export interface Declined extends Refused<'declined'> {
  readonly code: string;
  readonly message: string;
}

/** No connection came about, so the provider never heard of it. */
export interface NotSent extends Refused<'overloaded'> {
  readonly code: string;
}

/** The payment may have been captured, or may yet be. */
export interface UnknownCharge extends Unknown<CapturedPayment> {
  /** The provider's error code, or the client's: `NO_ANSWER`, `UNREADABLE_ANSWER`, `FOREIGN_ANSWER`. */
  readonly code: string;
}

export type ChargeOutcome = Done<CapturedPayment> | Declined | NotSent | UnknownCharge;

/**
 * - `done`: captured, and ours.
 * - `not-found`: nothing captured that is ours; a confirmation may still be on its way.
 * - `unknown`: no answer, or one that says neither.
 */
export type FoundPayment =
  | Done<CapturedPayment>
  | { readonly outcome: 'not-found' }
  | { readonly outcome: 'unknown'; readonly code: string };

/**
 * The code with which the sandbox, in the mode of the published experiment, answers a second confirmation of
 * one payment: whoever gets it has asked the provider twice.
 */
export const ASKED_TWICE = 'DUPLICATE_PAYMENT_KEY';
