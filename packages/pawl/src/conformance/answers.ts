import { randomUUID } from 'node:crypto';
import type { Answer } from '../idempotency-record.ts';
import type { IdempotentRequest } from '../idempotency-request.ts';
import type { RefusalReason } from '../outcome.ts';

/** An answer, or why there is none, as it travels between processes. */
export interface Seen {
  readonly outcome: 'done' | 'refused' | 'unknown';
  readonly replayed?: boolean;
  readonly answer?: SeenAnswer;
  readonly reason?: RefusalReason;
  readonly retryAfterMs?: number;
}

export interface SeenAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** In hexadecimal digits. */
  readonly body: string;
}

interface AnyOutcome {
  readonly outcome: Seen['outcome'];
  readonly value?: Answer;
  readonly replayed?: boolean;
  readonly reason?: RefusalReason;
  readonly retryAfterMs?: number;
}

export function seen({ outcome, value, replayed, reason, retryAfterMs }: AnyOutcome): Seen {
  return {
    outcome,
    ...(value && { answer: seenAnswer(value) }),
    ...(replayed !== undefined && { replayed }),
    ...(reason !== undefined && { reason }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}

export function seenAnswer({ status, headers = {}, body }: Answer): SeenAnswer {
  return { status, headers: { ...headers }, body: Buffer.from(body).toString('hex') };
}

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => byte);

/** An answer that nobody else gives: text that no character set leaves alone, every byte there is, and a name. */
export function newAnswer(): Answer {
  return {
    status: 201,
    headers: { 'content-type': 'text/plain; charset=utf-8', location: `/päyments/${randomUUID()}?a='b'"\\` },
    body: Buffer.concat([EVERY_BYTE, Buffer.from(`\u0000 ✓ ${randomUUID()}`)]),
  };
}

export function requestOf(key: string): IdempotentRequest {
  return { scope: ['member-1', 'POST /conformance'], key, payload: `{"key":"${key}"}` };
}
