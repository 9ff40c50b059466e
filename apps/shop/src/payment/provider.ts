import type { Done, Refused, Unknown } from 'pawl';

/** What the shop asks of the payment provider. */
export interface PaymentProvider {
  /**
   * Asks for the payment to be captured, once: nothing is ever sent again from here.
   *
   * It does not throw for anything that the provider or the network does: what is not known to have been
   * captured or declined is `unknown`.
   */
  confirm(payment: PaymentRequest): Promise<ChargeOutcome>;
  /** Asks what became of a payment. It changes nothing, so it may be repeated. */
  lookUp(payment: PaymentRequest): Promise<ChargeOutcome>;
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
}

/** A payment that is captured, and ours: its key, order, amount and currency have been compared. */
export interface CapturedPayment {
  readonly paymentKey: string;
  readonly orderId: string;
  readonly totalAmount: number;
  readonly currency: string;
  readonly method: string;
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
 * The code with which the sandbox, in the mode of the published experiment, answers a second confirmation of
 * one payment: whoever gets it has asked the provider twice.
 */
export const ASKED_TWICE = 'DUPLICATE_PAYMENT_KEY';
