import { createHash } from 'node:crypto';
import type { Exchange, RaceRequest } from '../racer/exchange.ts';

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

/** What one raced request was told. Plain data; times are of the monotonic clock, in microseconds. */
export interface Answer {
  orderId: string;
  paymentKey: string;
  requestId: string;
  /** Name of the instance that answered, when it gave one. */
  instance: string | undefined;
  result: Result;
  /** Absent when no complete answer came. */
  status: number | undefined;
  /** The body's machine-readable `code`, when it has one. */
  code: string | undefined;
  /** The answer says of itself that it repeats an earlier one. */
  replayed: boolean;
  /** SHA-256 of the body's bytes, in hexadecimal; absent when no complete answer came. */
  bodyDigest: string | undefined;
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

/** Reads a raced exchange as a purchase's answer. Never throws: what cannot be read is absent. */
export function answerOf(exchange: Exchange<PurchaseRequest>): Answer {
  const { request, status, headers, body, releasedAtUs, answeredAtUs, error } = exchange;
  const answered = status !== undefined;
  return {
    orderId: request.orderId,
    paymentKey: request.paymentKey,
    requestId: request.requestId,
    instance: text(headers['x-server-name']),
    result: resultOf(status),
    status,
    code: answered ? codeIn(body) : undefined,
    replayed: headers['idempotency-replayed'] === 'true',
    bodyDigest: answered ? createHash('sha256').update(body).digest('hex') : undefined,
    releasedAtUs,
    answeredAtUs,
    latencyMs: (answeredAtUs - releasedAtUs) / 1000,
    arrivedAtUs: microseconds(text(headers['x-arrived-at-us'])),
    error,
  };
}

/** See `Result`. */
export function resultOf(status: number | undefined): Result {
  if (status === 200) return 'ok';
  return status !== undefined && status >= 400 && status < 500 ? 'fail' : 'info';
}

function text(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined;
}

function microseconds(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function codeIn(body: Buffer): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined; // Not JSON: a proxy's error page, for example.
  }
  if (typeof parsed !== 'object' || parsed === null || !('code' in parsed)) return undefined;
  return typeof parsed.code === 'string' ? parsed.code : undefined;
}
