import { type Done, done, type Refused, refused } from 'pawl';
import type { Bill } from '../src/lotto/bill.ts';
import type { ChargeRequest } from '../src/lotto/purchase/durable/definition.ts';
import { billOf, type PaymentAttempt, type PurchaseRows } from '../src/lotto/purchase/durable/rows.ts';
import type { Clock } from './clock.ts';
import type { Counts } from './counts.ts';
import { Table, type Trx } from './table.ts';

export type Status = 'WAITING' | 'PENDING' | 'COMPLETE' | 'REFUNDING' | 'REFUNDED' | 'CANCELED';

export interface OrderRow {
  readonly orderId: string;
  readonly memberId: number;
  readonly status: Status;
  readonly attempt: number;
  readonly paymentKey: string | undefined;
}

export interface PurchaseRow {
  readonly orderId: string;
  readonly bill: Bill;
  readonly isPaid: boolean;
}

/** All orders cost the same: the sum alone tells no payment from another. */
export const AMOUNT = 1_000;
export const CURRENCY = 'KRW';
export const ROUND = 1;

/** A hook has met an order that is not as its record says. */
export class OrderMovedOn extends Error {
  override readonly name = 'OrderMovedOn';
}

/** The shop's rows, and who is told of each edge that a status takes. */
export interface ModelRows extends PurchaseRows<Trx> {
  /** WAITING → PENDING. */
  claim(
    trx: Trx,
    order: { readonly orderId: string; readonly memberId: number; readonly paymentKey: string },
  ): Promise<Done<Pick<ChargeRequest, 'attempt' | 'lottoRoundInfoId'>> | Refused<'wrong-state'>>;
  readonly orders: Table<OrderRow>;
  readonly purchases: Table<PurchaseRow>;
  readonly strays: Table<{ readonly foundAt: number; readonly isRefunded: boolean }>;
  /** The member gives up an order that he has not paid. */
  giveUp(trx: Trx, orderId: string): boolean;
  /** The round is drawn: from now on nothing is sold or taken back. */
  draw(): void;
  readonly isDrawn: boolean;
}

/**
 * The same conditions as in the shop's SQL. Where a condition follows from the fence alone, as the attempt's number in a release, it
 * is not checked here either.
 */
export function modelRows(
  clock: Clock,
  counts: Counts,
  isRecorded: (orderId: string, attempt: number) => boolean,
  moved: (order: OrderRow, to: Status) => void,
): ModelRows {
  const orders: ModelRows['orders'] = new Table();
  const purchases: ModelRows['purchases'] = new Table();
  const strays: ModelRows['strays'] = new Table();
  let isDrawn = false;
  let bills = 0;

  const move = (
    trx: Trx,
    { orderId }: { readonly orderId: string },
    from: Status,
    to: Status,
    set: Partial<OrderRow> = {},
  ): boolean => {
    const order = orders.get(orderId);
    if (order?.status !== from) return false;
    orders.put(trx, orderId, { ...order, ...set, status: to });
    trx.onCommit.push(() => moved(order, to));
    return true;
  };
  const mustMove = (trx: Trx, attempt: PaymentAttempt, from: Status, to: Status, set?: Partial<OrderRow>) => {
    if (move(trx, attempt, from, to, set)) return;
    counts.saw('hook met an order that had moved on');
    throw new OrderMovedOn(`order ${attempt.orderId} is not ${from}`);
  };

  return {
    orders,
    purchases,
    strays,
    giveUp: (trx, orderId) => move(trx, { orderId }, 'WAITING', 'CANCELED'),
    draw() {
      isDrawn = true;
    },
    get isDrawn() {
      return isDrawn;
    },
    async claim(trx, order) {
      const { orderId, memberId, paymentKey } = order;
      const found = orders.get(orderId);
      if (found === undefined || found.memberId !== memberId || isDrawn) return refused('wrong-state');
      // One that is found at this very moment is not in the snapshot of a claim that waits for the row.
      const stray = strays.get(paymentKey);
      if (stray !== undefined && stray.foundAt < clock.now) return refused('wrong-state');
      if (!move(trx, order, 'WAITING', 'PENDING', { paymentKey })) return refused('wrong-state');
      return done({ attempt: found.attempt, lottoRoundInfoId: ROUND });
    },
    async complete(trx, attempt, payment) {
      const { orderId } = attempt;
      const { paymentKey } = payment;
      if (isDrawn || strays.get(paymentKey) !== undefined) return refused('not-open');
      if (orders.get(orderId)?.attempt !== attempt.attempt) return refused('not-open');
      if (!move(trx, attempt, 'PENDING', 'COMPLETE', { paymentKey })) return refused('not-open');
      const bill = billOf(attempt, payment, { id: ++bills, created_at: new Date(clock.now) });
      purchases.put(trx, `${orderId} ${paymentKey}`, { orderId, bill, isPaid: true });
      return done(bill);
    },
    async release(trx, attempt) {
      mustMove(trx, attempt, 'PENDING', 'WAITING', { attempt: attempt.attempt + 1 });
    },
    async beginRefund(trx, attempt, from) {
      if (!move(trx, attempt, from, 'REFUNDING')) return refused('wrong-state');
      return from === 'COMPLETE' && isDrawn ? refused('not-open') : done(undefined);
    },
    async endRefund(trx, attempt) {
      mustMove(trx, attempt, 'REFUNDING', 'REFUNDED');
      const key = `${attempt.orderId} ${attempt.paymentKey}`;
      const bought = purchases.get(key);
      if (bought !== undefined) purchases.put(trx, key, { ...bought, isPaid: false });
    },
    async judgeCapture(trx, { paymentKey, orderId }) {
      const order = orders.get(orderId);
      if (order === undefined) return { judged: 'unknown-order' };
      const isUnderWay = order.status !== 'WAITING' && order.status !== 'CANCELED';
      if (isUnderWay && order.paymentKey === paymentKey) {
        const isEnded = order.status === 'COMPLETE' || order.status === 'REFUNDED';
        return { judged: isEnded || isRecorded(orderId, order.attempt) ? 'accounted-for' : 'no-record' };
      }
      const isBought = purchases.get(`${orderId} ${paymentKey}`) !== undefined;
      if (isBought || strays.get(paymentKey) !== undefined) return { judged: 'accounted-for' };
      strays.put(trx, paymentKey, { foundAt: clock.now, isRefunded: false });
      const { memberId, attempt } = order;
      return { judged: 'stray', lottoPublishId: 1, memberId, attempt };
    },
    async endStrayRefund(trx, paymentKey) {
      const foundAt = strays.get(paymentKey)?.foundAt ?? clock.now;
      strays.put(trx, paymentKey, { foundAt, isRefunded: true });
    },
  };
}
