/** The payment provider's ledger, as it prints itself: one event a line, in the order in which they happened. */
export type LedgerEvent = SessionEvent | RequestEvent | CaptureEvent | RefundEvent | AnswerEvent | FaultEvent;

interface EventHead {
  /** Grows by one with every event. */
  seq: number;
  /** Wall-clock time, ISO 8601; for reading only, the order is by `seq`. */
  at: string;
}

/** A payment window was opened. */
export interface SessionEvent extends EventHead {
  type: 'session';
}

/** A request arrived, whether or not it was understood, answered or heard; what could not be read is null. */
export interface RequestEvent extends EventHead {
  type: 'request';
  operation: (typeof operations)[number];
  paymentKey: string | null;
  orderId: string | null;
  amount: number | null;
  idempotencyKey: string | null;
  requestId: string | null;
  testCode: string | null;
  /** Its secret key was wrong, so that nothing else of it was read. */
  keyRefused: boolean;
}

/** Money was taken. */
export interface CaptureEvent extends EventHead {
  type: 'capture';
  captureId: string;
  paymentKey: string;
  orderId: string;
  amount: number;
  currency: string;
  requestId: string | null;
}

/** Money was given back. */
export interface RefundEvent extends EventHead {
  type: 'refund';
  refundId: string;
  captureId: string;
  paymentKey: string;
  orderId: string;
  amount: number;
  requestId: string | null;
}

/** An answer was stored under an idempotency key. */
export interface AnswerEvent extends EventHead {
  type: 'answer';
}

/** A request, or what it was answered with, went wrong as the lab had asked for. */
export interface FaultEvent extends EventHead {
  type: 'fault';
  kind: string;
  operation: RequestEvent['operation'];
  orderId: string | null;
  requestId: string | null;
}

const operations = ['confirm', 'cancel', 'lookup', 'transactions'] as const;

/** The ledger is not one that can be judged by. Nothing of it was used. */
export class LedgerFormatError extends Error {
  override readonly name = 'LedgerFormatError';
  readonly code = 'BAD_LEDGER';
  /** Counted from 1. */
  readonly line: number;

  constructor(line: number, problem: string, options?: ErrorOptions) {
    super(`ledger line ${line}: ${problem}`, options);
    this.line = line;
  }
}

/**
 * Reads a ledger, or any run of consecutive lines of one, from newline-delimited JSON.
 *
 * Strict, because a verdict rests on it: an unknown type, a field of another type, or a gap in `seq` (an event
 * is missing) is an error. Fields that no checker needs are dropped.
 *
 * @throws LedgerFormatError  Names the first bad line.
 */
export function parseLedger(ndjson: string): LedgerEvent[] {
  if (ndjson === '') return [];
  const lines = (ndjson.endsWith('\n') ? ndjson.slice(0, -1) : ndjson).split('\n');
  let previousSeq: number | undefined;
  return lines.map((line, index) => {
    const event = eventIn(line, index + 1);
    if (previousSeq !== undefined && event.seq !== previousSeq + 1) {
      throw new LedgerFormatError(index + 1, `seq ${event.seq} follows ${previousSeq}`);
    }
    previousSeq = event.seq;
    return event;
  });
}

function eventIn(line: string, lineNumber: number): LedgerEvent {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (cause) {
    throw new LedgerFormatError(lineNumber, `not JSON: ${excerpt(line)}`, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new LedgerFormatError(lineNumber, `not an object: ${excerpt(line)}`);
  }
  const field = fieldsOf(parsed as Record<string, unknown>, lineNumber);
  const head = { seq: field.count('seq'), at: field.text('at') };
  const type = field.oneOf('type', ['session', 'request', 'capture', 'refund', 'answer', 'fault']);
  if (type === 'session' || type === 'answer') return { ...head, type };
  if (type === 'request') {
    return {
      ...head,
      type,
      operation: field.oneOf('operation', operations),
      paymentKey: field.textOrNull('paymentKey'),
      orderId: field.textOrNull('orderId'),
      amount: field.numberOrNull('amount'),
      idempotencyKey: field.textOrNull('idempotencyKey'),
      requestId: field.textOrNull('requestId'),
      testCode: field.textOrNull('testCode'),
      keyRefused: field.trueOrAbsent('keyRefused'),
    };
  }
  if (type === 'fault') {
    return {
      ...head,
      type,
      kind: field.text('kind'),
      operation: field.oneOf('operation', operations),
      orderId: field.textOrNull('orderId'),
      requestId: field.textOrNull('requestId'),
    };
  }
  const money = {
    ...head,
    captureId: field.text('captureId'),
    paymentKey: field.text('paymentKey'),
    orderId: field.text('orderId'),
    amount: field.count('amount'),
    requestId: field.textOrNull('requestId'),
  };
  return type === 'capture'
    ? { ...money, type, currency: field.text('currency') }
    : { ...money, type, refundId: field.text('refundId') };
}

function fieldsOf(record: Readonly<Record<string, unknown>>, lineNumber: number) {
  const bad = (name: string, rule: string) =>
    new LedgerFormatError(
      lineNumber,
      `${name} must be ${rule}, got ${excerpt(JSON.stringify(record[name]))}`,
    );
  return {
    text(name: string): string {
      const value = record[name];
      if (typeof value !== 'string' || value === '') throw bad(name, 'text');
      return value;
    },
    textOrNull(name: string): string | null {
      const value = record[name] ?? null;
      if (value !== null && typeof value !== 'string') throw bad(name, 'text or null');
      return value;
    },
    trueOrAbsent(name: string): boolean {
      const value = record[name];
      if (value !== undefined && value !== true) throw bad(name, 'true or absent');
      return value === true;
    },
    numberOrNull(name: string): number | null {
      const value = record[name] ?? null;
      if (value !== null && typeof value !== 'number') throw bad(name, 'a number or null');
      return value;
    },
    count(name: string): number {
      const value = record[name];
      if (!Number.isSafeInteger(value) || Number(value) < 1) throw bad(name, 'a whole number ≥ 1');
      return Number(value);
    },
    oneOf<Value extends string>(name: string, values: readonly Value[]): Value {
      const value = values.find((candidate) => candidate === record[name]);
      if (value === undefined) throw bad(name, `one of ${values.join(', ')}`);
      return value;
    },
  };
}

function excerpt(text: string | undefined): string {
  if (text === undefined) return 'nothing';
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}
