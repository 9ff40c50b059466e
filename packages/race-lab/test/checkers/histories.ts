import { type Answer, resultOf } from '../../src/history/answer.ts';
import type { CancelAnswer } from '../../src/history/cancel-answer.ts';
import type { DurableCallRow } from '../../src/history/durable-calls.ts';
import type { Evidence } from '../../src/history/evidence.ts';
import type { CaptureEvent, LedgerEvent, RefundEvent, RequestEvent } from '../../src/history/ledger.ts';
import type { AuditRow, BillRow, OrderRow } from '../../src/history/shop-rows.ts';

const PRICE = 1000;
const at = '2026-01-01T00:00:00.000Z';

export function answer(orderId: string, requestId: string, over: Partial<Answer> = {}): Answer {
  const status = 'status' in over ? over.status : 200;
  return {
    orderId,
    paymentKey: orderId,
    requestId,
    instance: 'lotto-back-1',
    result: resultOf(status),
    status,
    code: undefined,
    replayed: false,
    bodyDigest: status === undefined ? undefined : `digest of ${status}`,
    billId: status === 200 ? `${orderId}-bill` : undefined,
    releasedAtUs: 0,
    answeredAtUs: 1000,
    latencyMs: 1,
    arrivedAtUs: undefined,
    error: undefined,
    steps: [],
    ...over,
  };
}

export const refused = (orderId: string, requestId: string) => answer(orderId, requestId, { status: 400 });
export const replayed = (orderId: string, requestId: string) =>
  answer(orderId, requestId, { replayed: true });

/** The member took the order back. */
export function cancel(orderId: string, over: Partial<CancelAnswer> = {}): CancelAnswer {
  const status = 'status' in over ? over.status : 200;
  return {
    orderId,
    requestId: `${orderId}-cancel`,
    instance: 'lotto-back-1',
    result: resultOf(status),
    status,
    orderStatus: status === 200 ? 'REFUNDED' : undefined,
    code: undefined,
    releasedAtUs: 0,
    answeredAtUs: 1000,
    latencyMs: 1,
    arrivedAtUs: undefined,
    error: undefined,
    ...over,
  };
}

/** A settled attempt to pay. */
export function call(orderId: string, over: Partial<DurableCallRow> = {}): DurableCallRow {
  const times = { createdAtMs: 1000, changedAtMs: 1500, finalAfterMs: 5000 };
  return { subject: orderId, orderId, attempt: 1, state: 'done', fence: 1, ...times, ...over };
}

export function confirm(orderId: string, requestId: string): RequestEvent {
  const unused = { idempotencyKey: null, testCode: null, keyRefused: false };
  return {
    seq: 0,
    at,
    type: 'request',
    operation: 'confirm',
    paymentKey: orderId,
    orderId,
    amount: PRICE,
    requestId,
    ...unused,
  };
}

export function capture(orderId: string, over: Partial<CaptureEvent> = {}): CaptureEvent {
  return {
    seq: 0,
    at,
    type: 'capture',
    captureId: `${orderId}-capture`,
    paymentKey: orderId,
    orderId,
    amount: PRICE,
    currency: 'KRW',
    requestId: `${orderId}-r0`,
    ...over,
  };
}

export function refund(orderId: string, over: Partial<RefundEvent> = {}): RefundEvent {
  return {
    seq: 0,
    at,
    type: 'refund',
    refundId: `${orderId}-refund`,
    captureId: `${orderId}-capture`,
    paymentKey: orderId,
    orderId,
    amount: PRICE,
    requestId: null,
    ...over,
  };
}

export function order(orderId: string, over: Partial<OrderRow> = {}): OrderRow {
  return { orderId, memberId: '1', amount: PRICE, currency: 'KRW', status: 'COMPLETE', ...over };
}

export function bill(orderId: string, over: Partial<BillRow> = {}): BillRow {
  return { billId: `${orderId}-bill`, orderId, memberId: '1', paymentKey: orderId, amount: PRICE, ...over };
}

/** The audit of an order that went through the given statuses. */
export function audit(orderId: string, path: readonly string[], requestId: string | null): AuditRow[] {
  return path.slice(1).map((to, index) => ({
    id: `${orderId}-a${index}`,
    orderId,
    from: path[index] ?? '',
    to,
    requestId,
    strategy: 'conditional-update',
    instance: 'lotto-back-1',
  }));
}

export const PAID_PATH = ['WAITING', 'PENDING', 'COMPLETE'];

/** What an order leaves behind; the parts that are given replace the good ones. */
export interface Story {
  answers: Answer[];
  cancels?: CancelAnswer[];
  ledger: LedgerEvent[];
  orders: OrderRow[];
  bills: BillRow[];
  audit: AuditRow[];
}

/** The good history: request r0 won and paid, the others (r1, r2, …) lost. */
export function paid(
  orderId: string,
  over: Partial<Story> = {},
  losers = [refused, refused, refused, refused],
): Story {
  const winner = `${orderId}-r0`;
  return {
    answers: [
      answer(orderId, winner),
      ...losers.map((loser, index) => loser(orderId, `${orderId}-r${index + 1}`)),
    ],
    ledger: [confirm(orderId, winner), capture(orderId)],
    orders: [order(orderId)],
    bills: [bill(orderId)],
    audit: audit(orderId, PAID_PATH, winner),
    ...over,
  };
}

/** Also good, as far as money goes: the provider declined, and the order was given back. */
export function declined(orderId: string, over: Partial<Story> = {}): Story {
  const asker = `${orderId}-r0`;
  return {
    answers: [refused(orderId, asker), refused(orderId, `${orderId}-r1`)],
    ledger: [confirm(orderId, asker)],
    orders: [order(orderId, { status: 'WAITING' })],
    bills: [],
    audit: audit(orderId, ['WAITING', 'PENDING', 'WAITING'], asker),
    ...over,
  };
}

/** Good too: it was paid, and its member took it back. */
export function takenBack(orderId: string, over: Partial<Story> = {}): Story {
  return paid(orderId, {
    cancels: [cancel(orderId)],
    ledger: [confirm(orderId, `${orderId}-r0`), capture(orderId), refund(orderId)],
    orders: [order(orderId, { status: 'REFUNDED' })],
    bills: [],
    audit: [
      ...audit(orderId, PAID_PATH, `${orderId}-r0`),
      ...audit(orderId, ['COMPLETE', 'REFUNDING', 'REFUNDED'], `${orderId}-cancel`),
    ],
    ...over,
  });
}

/** Good too: charged, but its round was drawn meanwhile, and the money given back. */
export function refundedInstead(orderId: string, over: Partial<Story> = {}): Story {
  const asker = `${orderId}-r0`;
  return {
    answers: [refused(orderId, asker), refused(orderId, `${orderId}-r1`)],
    ledger: [confirm(orderId, asker), capture(orderId), refund(orderId)],
    orders: [order(orderId, { status: 'REFUNDED' })],
    bills: [],
    audit: audit(orderId, ['WAITING', 'PENDING', 'REFUNDING', 'REFUNDED'], asker),
    ...over,
  };
}

/** One history of several orders. The ledger is numbered in the given order. */
export function evidence(...stories: readonly Story[]): Evidence {
  return {
    answers: stories.flatMap(({ answers }) => answers),
    cancels: stories.flatMap(({ cancels = [] }) => cancels),
    ledger: numbered(stories.flatMap(({ ledger }) => ledger)),
    rows: {
      orders: stories.flatMap(({ orders }) => orders),
      bills: stories.flatMap(({ bills }) => bills),
      audit: stories.flatMap((story) => story.audit),
    },
  };
}

export function numbered(events: readonly LedgerEvent[]): LedgerEvent[] {
  return events.map((event, index) => ({ ...event, seq: index + 1 }));
}
