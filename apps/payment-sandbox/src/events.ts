import { type Static, Type } from 'typebox';

export const operations = ['confirm', 'cancel', 'lookup', 'transactions'] as const;
/** Whether a fault strikes before or after its request is decided. */
export const faultMoments = ['before', 'after'] as const;
export const faultKinds = ['code', 'status', 'hang', 'reset', 'truncate', 'garble', 'slow', 'lag'] as const;

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);

/** What every line of the ledger carries, whatever happened. */
const stamp = {
  /** 1, 2, 3, … without a gap. */
  seq: Type.Integer({ minimum: 1 }),
  /** When it was decided (ISO 8601, UTC). Never goes back from one line to the next. */
  at: Type.String({ format: 'date-time' }),
  /** The next line belongs to the same decision: either both stand or neither does. */
  more: Type.Optional(Type.Literal(true)),
};
const subject = { paymentKey: Type.String(), orderId: Type.String(), amount: Type.Integer({ minimum: 1 }) };

/** A payment window was opened: until `expiresAt`, this key can pay this amount for this order. */
const SessionEvent = Type.Object({
  ...stamp,
  type: Type.Literal('session'),
  ...subject,
  currency: Type.String(),
  expiresAt: Type.String({ format: 'date-time' }),
});

/** A request reached a `/v1` route. Written on arrival, whatever becomes of it. */
const RequestEvent = Type.Object({
  ...stamp,
  type: Type.Literal('request'),
  operation: Type.Enum(operations),
  /** False: its key or the provider's schema refused it. The fields then hold what could be read, else null. */
  wellFormed: Type.Boolean(),
  /** Its key was missing or wrong, so its body was not read. */
  keyRefused: Type.Optional(Type.Literal(true)),
  paymentKey: Nullable(Type.String()),
  orderId: Nullable(Type.String()),
  /** Of a cancel: the amount to give back; null asks for all of it. */
  amount: Nullable(Type.Integer()),
  idempotencyKey: Nullable(Type.String()),
  requestId: Nullable(Type.String()),
  testCode: Nullable(Type.String()),
});

/** Money was taken. */
const CaptureEvent = Type.Object({
  ...stamp,
  type: Type.Literal('capture'),
  captureId: Type.String(),
  ...subject,
  currency: Type.String(),
  requestId: Nullable(Type.String()),
});

/** Money was given back, out of one capture. */
const RefundEvent = Type.Object({
  ...stamp,
  type: Type.Literal('refund'),
  refundId: Type.String(),
  captureId: Type.String(),
  ...subject,
  cancelReason: Type.String(),
  requestId: Nullable(Type.String()),
});

/** An answer that is given again to whoever repeats the request under its idempotency key. */
const AnswerEvent = Type.Object({
  ...stamp,
  type: Type.Literal('answer'),
  idempotencyKey: Type.String(),
  /** A digest: the secret key itself is written nowhere. */
  apiKeyDigest: Type.String(),
  method: Type.String(),
  url: Type.String(),
  validUntil: Type.String({ format: 'date-time' }),
  status: Type.Integer(),
  body: Type.String(),
});

/** A rule of the lab's struck a request: in place of the decision, or in one with it; of one put off, before it. */
const FaultEvent = Type.Object({
  ...stamp,
  type: Type.Literal('fault'),
  ruleId: Type.String(),
  operation: Type.Enum(operations),
  kind: Type.Enum(faultKinds),
  /** Null of a lag, which is about what a reading shows. */
  when: Nullable(Type.Enum(faultMoments)),
  /** What the request says about its subject. */
  paymentKey: Nullable(Type.String()),
  orderId: Nullable(Type.String()),
  requestId: Nullable(Type.String()),
});

export const LedgerEventSchema = Type.Union([
  SessionEvent,
  RequestEvent,
  CaptureEvent,
  RefundEvent,
  AnswerEvent,
  FaultEvent,
]);

export type LedgerEvent = Static<typeof LedgerEventSchema>;
export type EventOf<T extends LedgerEvent['type']> = Extract<LedgerEvent, { type: T }>;
/** An event before the ledger has stamped it. */
export type EventDraft = {
  [T in LedgerEvent['type']]: Omit<EventOf<T>, 'seq' | 'at' | 'more'>;
}[LedgerEvent['type']];
export type Operation = (typeof operations)[number];
export type FaultMoment = (typeof faultMoments)[number];
