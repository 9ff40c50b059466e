import { createHash } from 'node:crypto';
import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import { type Step, stepsOf } from './steps.ts';

/** One request of a purchase race. The header that carries `requestId` to the shop is the sender's business. */
export interface PurchaseRequest extends RaceRequest {
  orderId: string;
  paymentKey: string;
  /** Its own for every request, so that what it caused can be found in the ledger and in the audit. */
  requestId: string;
}

/**
 * What a client knows of the effect of its request.
 *
 * `ok`: it took effect (200). `fail`: it was refused, so it must have had none (4xx). `info`: unknown. That is
 * every 5xx (the shop may have charged before it failed), 202 (the shop itself does not know yet), any status
 * that the shop does not promise, and no complete answer. `info` stays concurrent with everything after it.
 */
export type Result = 'ok' | 'fail' | 'info';

/** What one raced request was told, whatever it asked for. Plain data; times are of the monotonic clock, in microseconds. */
export interface RacedAnswer {
  requestId: string;
  /** Name of the instance that answered, when it gave one. */
  instance: string | undefined;
  result: Result;
  /** Absent when no complete answer came. */
  status: number | undefined;
  /** The body's machine-readable `code`, when it has one. */
  code: string | undefined;
  /** When the last byte of the request was written. */
  releasedAtUs: number;
  /** When the last byte of the answer was read, or when it was known that none would come. */
  answeredAtUs: number;
  /** From the release to the last byte of the answer; without an answer it is how long was waited for one. */
  latencyMs: number;
  /** When the instance had the whole request, by its own stamp. */
  arrivedAtUs: number | undefined;
  /** Why there is no answer, or what was odd about it: see `Exchange.error`. */
  error: string | undefined;
}

/** What one raced confirmation was told. */
export interface Answer extends RacedAnswer {
  orderId: string;
  paymentKey: string;
  /** The answer says of itself that it repeats an earlier one. */
  replayed: boolean;
  /** SHA-256 of the body's bytes, in hexadecimal; absent when no complete answer came. */
  bodyDigest: string | undefined;
  /** The bill that it shows; absent where it shows none. */
  billId: string | undefined;
  /** What the strategy did, in its order; none where the shop does not say. */
  steps: readonly Step[];
}

/** Refusals that speak of the moment alone: who sends the same request again may be told something else. */
const PASSING: readonly (string | undefined)[] = ['in-progress', 'contended', 'lock-timeout', 'fenced'];

/** Whether the same request gets this answer for ever: a success, or a refusal that speaks of more than the moment. */
export function isFinal({ result, code }: Pick<RacedAnswer, 'result' | 'code'>): boolean {
  return result === 'ok' || (result === 'fail' && !PASSING.includes(code));
}

/** Reads a raced exchange as a purchase's answer. Never throws: what cannot be read is absent. */
export function answerOf(exchange: Exchange<PurchaseRequest>): Answer {
  const { request, status, headers, body } = exchange;
  return {
    ...racedAnswerOf(exchange),
    orderId: request.orderId,
    paymentKey: request.paymentKey,
    replayed: headers['idempotency-replayed'] === 'true',
    bodyDigest: status === undefined ? undefined : createHash('sha256').update(body).digest('hex'),
    billId: status === 200 ? billIdIn(body) : undefined,
    steps: stepsOf(exchange),
  };
}

function billIdIn(body: Buffer): string | undefined {
  const id = objectOf(jsonObject(body)?.data)?.id;
  return Number.isSafeInteger(id) ? String(id) : undefined;
}

/** Reads of a raced exchange what every answer has. Never throws: what cannot be read is absent. */
export function racedAnswerOf(exchange: Exchange<RaceRequest & { requestId: string }>): RacedAnswer {
  const { request, status, headers, body, releasedAtUs, answeredAtUs, error } = exchange;
  const code = status === undefined ? undefined : jsonObject(body)?.code;
  return {
    requestId: request.requestId,
    instance: textOf(headers['x-server-name']),
    result: resultOf(status),
    status,
    code: typeof code === 'string' ? code : undefined,
    releasedAtUs,
    answeredAtUs,
    latencyMs: (answeredAtUs - releasedAtUs) / 1000,
    arrivedAtUs: wholeNumber(textOf(headers['x-arrived-at-us'])),
    error,
  };
}

/** See `Result`. */
export function resultOf(status: number | undefined): Result {
  if (status === 200) return 'ok';
  return status !== undefined && status >= 400 && status < 500 ? 'fail' : 'info';
}

/** The one value of a header; absent when it was not sent. */
export function textOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined;
}

export function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** The members of a JSON object; absent where it is something else, such as a proxy's error page. */
export function jsonObject(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    return objectOf(JSON.parse(body.toString('utf8')));
  } catch {
    return undefined;
  }
}

export function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}
