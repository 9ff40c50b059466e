import type { EventOf, LedgerEvent } from './events.ts';

export interface Capture {
  readonly captureId: string;
  readonly amount: number;
  readonly at: string;
  /** How much of it went back. */
  refundedAmount: number;
}

/** A payment key with the order and the amount that its session bound it to, and all the money it moved. */
export interface Payment {
  readonly session: EventOf<'session'>;
  readonly captures: Capture[];
  readonly refunds: EventOf<'refund'>[];
  /** Its captures and refunds, in the order in which they happened. */
  readonly transactions: Transaction[];
}

/** One movement of money, as reconciliation reads it. */
export interface Transaction {
  readonly transactionKey: string;
  readonly paymentKey: string;
  readonly orderId: string;
  readonly status: 'DONE' | 'CANCELED' | 'PARTIAL_CANCELED';
  readonly at: string;
  readonly currency: string;
  readonly amount: number;
}

/** What the ledger adds up to: sessions, captures and refunds. Nothing but `apply` changes it. */
export interface Book {
  /** @throws Error  The event contradicts those before it. */
  apply(event: LedgerEvent): void;
  payment(paymentKey: string): Payment | undefined;
  /**
   * The order's payment that was captured last; without a capture, the one whose session was opened last.
   * @param view  What of each payment shall be seen; all of it, if absent.
   */
  paymentOfOrder(orderId: string, view?: (payment: Payment) => Payment): Payment | undefined;
  /** All captures and refunds, in the order in which they happened. */
  readonly transactions: readonly Transaction[];
  transactionIndex(transactionKey: string): number | undefined;
}

/** The captured money that was not given back. Several captures of one payment add up. */
export function balanceOf(payment: Payment): number {
  return payment.captures.reduce((sum, { amount, refundedAmount }) => sum + amount - refundedAmount, 0);
}

export function createBook(): Book {
  const payments = new Map<string, Payment>();
  const ofOrder = new Map<string, Payment[]>();
  const transactions: Transaction[] = [];
  const transactionIndexes = new Map<string, number>();

  function known(paymentKey: string): Payment {
    const payment = payments.get(paymentKey);
    if (payment === undefined) throw new Error(`payment ${paymentKey} has no session`);
    return payment;
  }

  function note(payment: Payment, transaction: Transaction): void {
    transactionIndexes.set(transaction.transactionKey, transactions.length);
    transactions.push(transaction);
    payment.transactions.push(transaction);
  }

  function open(session: EventOf<'session'>): void {
    const { paymentKey, orderId } = session;
    if (payments.has(paymentKey)) throw new Error(`payment ${paymentKey} has a session already`);
    const payment: Payment = { session, captures: [], refunds: [], transactions: [] };
    payments.set(paymentKey, payment);
    const siblings = ofOrder.get(orderId);
    if (siblings === undefined) ofOrder.set(orderId, [payment]);
    else siblings.push(payment);
  }

  /** Where its last capture stands among all transactions; -1 without one. */
  function lastCapture({ captures }: Payment): number {
    return transactionIndexes.get(captures.at(-1)?.captureId ?? '') ?? -1;
  }

  function capture({ captureId, paymentKey, orderId, amount, currency, at }: EventOf<'capture'>): void {
    const payment = known(paymentKey);
    payment.captures.push({ captureId, amount, at, refundedAmount: 0 });
    note(payment, { transactionKey: captureId, paymentKey, orderId, status: 'DONE', at, currency, amount });
  }

  function refund(event: EventOf<'refund'>): void {
    const { refundId, captureId, paymentKey, orderId, amount, at } = event;
    const payment = known(paymentKey);
    const captured = payment.captures.find((candidate) => candidate.captureId === captureId);
    if (captured === undefined) throw new Error(`refund ${refundId} names no capture of ${paymentKey}`);
    if (captured.refundedAmount + amount > captured.amount)
      throw new Error(`refund ${refundId} exceeds capture ${captureId}`);
    captured.refundedAmount += amount;
    payment.refunds.push(event);
    const status = balanceOf(payment) === 0 ? 'CANCELED' : 'PARTIAL_CANCELED';
    const { currency } = payment.session;
    note(payment, { transactionKey: refundId, paymentKey, orderId, status, at, currency, amount });
  }

  return {
    apply(event) {
      if (event.type === 'session') open(event);
      else if (event.type === 'capture') capture(event);
      else if (event.type === 'refund') refund(event);
    },
    payment: (paymentKey) => payments.get(paymentKey),
    paymentOfOrder(orderId, view = (payment) => payment) {
      let current: Payment | undefined;
      for (const payment of ofOrder.get(orderId)?.map(view) ?? [])
        if (current === undefined || lastCapture(payment) >= lastCapture(current)) current = payment;
      return current;
    },
    transactions,
    transactionIndex: (transactionKey) => transactionIndexes.get(transactionKey),
  };
}
