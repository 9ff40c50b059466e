import type { MemberRequest } from '../../src/endpoint/build-request.ts';
import type { Exchange } from '../../src/racer/exchange.ts';

/** What became of one request, as a test tells it. */
export interface Told {
  status?: number;
  body?: string;
  replayed?: boolean;
  error?: string;
  /** Sent, and answered, in milliseconds. */
  at?: readonly [number, number];
}

/** One round of them. */
export function exchanges(...told: Told[]): Exchange<MemberRequest>[] {
  return told.map(
    ({ status, body = '', replayed = false, error, at: [sentMs, answeredMs] = [0, 10] }, index) => ({
      request: {
        ...{ round: 1, n: index + 1, target: { host: '127.0.0.1', port: 1 } },
        ...{ method: 'POST', path: '/', headers: {}, body: '' },
      },
      status,
      headers: replayed ? { 'idempotency-replayed': 'true' } : {},
      body: Buffer.from(body),
      releasedAtUs: 1_000_000 + sentMs * 1000,
      answeredAtUs: 1_000_000 + answeredMs * 1000,
      error,
    }),
  );
}
