import type { DurableCall } from 'pawl';
import { type Capture, isRefunded, type LedgerObserver, type Payment } from './provider.ts';
import type { ModelRows, OrderRow, Status } from './rows.ts';
import type { ModelStore } from './store.ts';

export type Invariant =
  /** Captures − refunds of the shop's never exceed one for an order. */
  | 'I1a'
  /** The shop never captures twice for an order, be it given back or not. */
  | 'I1b'
  /** At quiescence an order has one standing capture and its paid bill, or neither. */
  | 'I2'
  /** Refunds never exceed captures. */
  | 'I3'
  /** Whoever was given a bill keeps it, unless he takes it back. */
  | 'I6'
  /** Whoever was told that nothing was charged, was charged nothing. */
  | 'I7'
  /** At quiescence everything is settled, and everybody has a final answer. */
  | 'I8'
  /** The same request gets the same bytes. */
  | 'I9'
  /** A status moves along allowed edges only. */
  | 'I13'
  /** An answer that is believed was made for the attempt's own payment key. */
  | 'own answer'
  /** Money of one order is not moved for another. */
  | 'own money'
  /** After a release, a payment key that the provider accepts is charged. */
  | 'charged after a release';

export interface Violation {
  readonly invariant: Invariant;
  readonly detail: string;
}

export const NOT_PAID = 'not paid';

export function billText({ id }: { readonly id: number }): string {
  return `bill ${id}`;
}

export function isBill(answer: string): boolean {
  return answer.startsWith('bill ');
}

const edges = new Set([
  'WAITING → PENDING',
  'WAITING → CANCELED',
  'PENDING → COMPLETE',
  'PENDING → WAITING',
  'PENDING → REFUNDING',
  'COMPLETE → REFUNDING',
  'REFUNDING → REFUNDED',
]);

/** Watches every prefix of a schedule, and judges what is left at its end. The first violation stays. */
export class Invariants implements LedgerObserver {
  violation: Violation | undefined;
  readonly #alsoAllowed: readonly string[];
  readonly #charges = new Map<string, { captures: number; refunds: number }>();
  readonly #answers = new Map<string, string>();

  /** @param alsoAllowed  Edges that a mutant takes: the harm that they do shall be seen, and not they. */
  constructor(alsoAllowed: readonly string[]) {
    this.#alsoAllowed = alsoAllowed;
  }

  broken(invariant: Invariant, detail: string): void {
    this.violation ??= { invariant, detail };
  }

  captured({ orderId, paymentKey }: Payment, { requestId }: Capture): void {
    if (isOutside(requestId)) return;
    const charges = this.#chargesOf(orderId);
    charges.captures++;
    const { captures, refunds } = charges;
    if (captures - refunds > 1) this.broken('I1a', `${orderId} is charged twice, now by ${paymentKey}`);
    else if (captures > 1) this.broken('I1b', `${orderId} was charged twice, now by ${paymentKey}`);
  }

  refunded({ orderId, paymentKey, captures }: Payment, forOrder: string): void {
    if (forOrder !== orderId)
      this.broken('own money', `${paymentKey}, paid for ${orderId}, was given back for ${forOrder}`);
    const ours = captures.filter(({ requestId }) => !isOutside(requestId));
    const charges = this.#chargesOf(orderId);
    charges.refunds += ours.length;
    if (charges.refunds > charges.captures) this.broken('I3', `${paymentKey} was given back twice`);
  }

  moved({ orderId, status }: OrderRow, to: Status): void {
    const edge = `${status} → ${to}`;
    if (edges.has(edge) || this.#alsoAllowed.includes(edge)) return;
    this.broken('I13', `${orderId} went ${edge}`);
  }

  believed(paymentKey: string, madeFor: string): void {
    if (paymentKey !== madeFor)
      this.broken('own answer', `an answer made for ${madeFor} was believed of ${paymentKey}`);
  }

  answered(request: string, bytes: string): void {
    const before = this.#answers.get(request);
    this.#answers.set(request, before ?? bytes);
    if (before !== undefined && before !== bytes)
      this.broken('I9', `${request} was answered "${before}", and later "${bytes}"`);
  }

  /** A definite no has left nothing. */
  refused(requestId: string, reason: string, { records }: ModelStore): void {
    const isClaimed = [...records.all()].some(({ call }) => requestIdOf(call) === requestId);
    if (isClaimed) this.broken('I7', `${requestId} was refused as ${reason}, and is claimed`);
  }

  /** What must hold once all is quiet. */
  judgeRest(payments: Iterable<Payment>, rows: ModelRows, { records }: ModelStore): void {
    for (const { call, isSettled } of records.all()) {
      if (!isSettled) this.broken('I8', `the call of ${call.subject}:${call.attempt} stays ${call.state}`);
    }
    for (const { orderId, status } of rows.orders.all()) {
      if (status === 'PENDING' || status === 'REFUNDING') this.broken('I8', `${orderId} stays ${status}`);
    }
    const all = [...payments];
    for (const { orderId } of rows.orders.all()) this.#judgeMoney(orderId, all, rows);
    const captures = all.flatMap((payment) => payment.captures);
    for (const { call } of records.all()) {
      const isNotPaid = call.answer !== undefined && bytesOf(call.answer) === NOT_PAID;
      const charged = captures.some(({ requestId }) => requestId === requestIdOf(call));
      if (isNotPaid && charged)
        this.broken('I7', `${requestIdOf(call)} was told "not paid", and was charged`);
    }
  }

  #judgeMoney(orderId: string, payments: readonly Payment[], { purchases }: ModelRows): void {
    const ofOrder = payments.filter((payment) => payment.orderId === orderId);
    const standing = ofOrder.flatMap(({ paymentKey, captures }) =>
      captures.filter((capture) => !isRefunded(capture)).map(() => paymentKey),
    );
    const billed = [...purchases.all()]
      .filter((purchase) => purchase.orderId === orderId && purchase.isPaid)
      .map(({ bill }) => bill.purchase.paymentKey);
    if (standing.length === billed.length && standing.length <= 1 && standing[0] === billed[0]) return;
    const [money, bills] = [standing, billed].map((keys) => keys.join(', ') || 'nothing');
    this.broken('I2', `${orderId} is charged by ${money}, and billed for ${bills}`);
  }

  #chargesOf(orderId: string): { captures: number; refunds: number } {
    const known = this.#charges.get(orderId);
    if (known !== undefined) return known;
    const charges = { captures: 0, refunds: 0 };
    this.#charges.set(orderId, charges);
    return charges;
  }
}

/** An old deployment confirms without the rules; what it captures is reconciled, and judged at the end. */
export const OUTSIDE = 'outside';

function isOutside(requestId: string): boolean {
  return requestId === OUTSIDE;
}

export function bytesOf({ body }: { readonly body: Uint8Array }): string {
  return Buffer.from(body).toString();
}

function requestIdOf({ request }: DurableCall): string {
  return String((request as { requestId?: string }).requestId);
}
