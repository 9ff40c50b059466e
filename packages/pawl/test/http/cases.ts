import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import type { ProblemCode } from '../../src/http/problem.ts';
import type { Received, Sending } from './client.ts';
import { type Framework, SERVED_BY, UNAUTHENTICATED } from './framework.ts';
import { expectNoHandlersHeaders, type Handler, MOST_BYTES, RULES, textOf } from './stage.ts';

/**
 * The table of cases: requests that are sent one after the other, and what comes back, the same in every framework and on every
 * store. Who comes at the same time, or goes away, is in `situations.ts`.
 */
export interface Row {
  readonly name: string;
  /** What the handler does. Default: `bill`. */
  readonly handler?: Handler;
  /** With the case's own key and `{"amount":1000}`, to `POST /pay`, by the member kim, unless they say otherwise. */
  readonly exchanges: readonly Exchange[];
  /** How often the handler has run in the end. */
  readonly runs: number;
  readonly only?: (framework: Framework) => boolean;
}

export type Exchange = readonly [Sending, Expected];

/** @param before  What came back before. */
export type Expected = (received: Received, before: readonly Received[]) => void;

/** The handler's own answer, in its `run`: all that it has set is on it, and nothing of ours. */
export const fresh =
  (run = 1): Expected =>
  ({ status, headers, body }) => {
    expect({ status, body: body.toString() }).toEqual({ status: 201, body: JSON.stringify({ bill: run }) });
    expect(headers).toMatchObject({
      ...SERVED_BY,
      'content-type': expect.stringMatching('^application/json'),
      location: `/bills/${run}`,
      'set-cookie': ['session=1', 'theme=dark'],
      'x-trace': 'abc',
    });
    expect(headers).not.toHaveProperty('idempotency-replayed');
  };

/** What came back to an exchange before, byte by byte, with the headers that are stored and no others of the handler's. */
const replayOf =
  (exchange: number): Expected =>
  (received, before) => {
    const first = before[exchange];
    expect(received.status).toBe(first?.status);
    expect(received.body).toEqual(first?.body);
    expect(received.headers).toMatchObject({ ...SERVED_BY, 'idempotency-replayed': 'true' });
    for (const name of ['content-type', 'location', 'etag', 'content-encoding', 'content-length']) {
      expect(received.headers[name], name).toBe(first?.headers[name]);
    }
    expectNoHandlersHeaders(received);
  };

export const replay = replayOf(0);

/** Those after which the same request is to be sent again. */
const LATER: readonly ProblemCode[] = ['in-progress', 'contended', 'store-unavailable', 'outcome-unknown'];

/** What the guard answers in place of the handler. */
export const problem =
  (status: number, code: ProblemCode): Expected =>
  (received) => {
    expect(received.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(textOf(received))).toEqual({
      type: `${RULES}#${code}`,
      title: expect.stringMatching(/./),
      status,
      detail: expect.stringMatching(/./),
      code,
    });
    expect(received.status).toBe(status);
    const later = received.headers['retry-after'];
    if (LATER.includes(code)) expect(Number(later)).toBeGreaterThanOrEqual(1);
    else expect(later).toBeUndefined();
    expect(received.headers).toMatchObject(SERVED_BY);
    expectNoHandlersHeaders(received);
  };

const missing = problem(400, 'idempotency-key-missing');
const invalid = problem(400, 'idempotency-key-invalid');
const mismatch = problem(422, 'payload-mismatch');

/** What the service itself says to whom it does not know. */
const unknownToTheService: Expected = (received) => {
  expect(received.status).toBe(401);
  expect(JSON.parse(textOf(received))).toEqual(UNAUTHENTICATED);
};

const whole =
  (status: number, body: string | Uint8Array = ''): Expected =>
  (received) => {
    expect(received.status).toBe(status);
    expect(received.body).toEqual(Buffer.from(body));
    expect(received.headers).not.toHaveProperty('idempotency-replayed');
  };

const answering =
  (status: number, body?: Uint8Array, headers: Record<string, string> = {}): Handler =>
  async () => ({ status, headers, ...(body && { body }) });

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const TEXT = { 'content-type': 'text/plain' };
const BYTES = { 'content-type': 'application/octet-stream' };

/** What the handler was given as its body comes back. */
const echo: Handler = async (_, { body }) => ({ status: 200, headers: BYTES, body });

const shapesOfKeys: readonly Row[] = [
  { name: 'no key', exchanges: [[{ key: [] }, missing]], runs: 0 },
  { name: 'a key of 0 characters', exchanges: [[{ key: '' }, invalid]], runs: 0 },
  { name: 'a key of 0 characters in quotes', exchanges: [[{ key: '""' }, invalid]], runs: 0 },
  {
    name: 'a key of 1 character',
    exchanges: [
      [{ key: 'k', member: 'one' }, fresh()],
      [{ key: 'k', member: 'one' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'a key of 255 characters',
    exchanges: [
      [{ key: 'k'.repeat(255), member: '255' }, fresh()],
      [{ key: `"${'k'.repeat(255)}"`, member: '255' }, replay],
    ],
    runs: 1,
  },
  { name: 'a key of 256 characters', exchanges: [[{ key: 'k'.repeat(256) }, invalid]], runs: 0 },
  {
    name: 'a key of 256 characters in quotes',
    exchanges: [[{ key: `"${'k'.repeat(256)}"` }, invalid]],
    runs: 0,
  },
  { name: 'a key that is not ASCII', exchanges: [[{ key: 'clé' }, invalid]], runs: 0 },
  { name: 'a quoted key that is not ASCII', exchanges: [[{ key: '"clé"' }, invalid]], runs: 0 },
  { name: 'a key with a tab', exchanges: [[{ key: 'a\tb' }, invalid]], runs: 0 },
  { name: 'a quote that does not end', exchanges: [[{ key: '"k' }, invalid]], runs: 0 },
  { name: 'two headers', exchanges: [[{ key: ['k1', 'k2'] }, invalid]], runs: 0 },
  { name: 'two headers that are the same', exchanges: [[{ key: ['k1', 'k1'] }, invalid]], runs: 0 },
  { name: 'two quoted headers', exchanges: [[{ key: ['"k1"', '"k2"'] }, invalid]], runs: 0 },
  {
    name: 'a quoted key is the same as without quotes, and what is escaped in it is itself',
    exchanges: [
      [{ key: 'a\\b', member: 'quotes' }, fresh()],
      [{ key: '"a\\\\b"', member: 'quotes' }, replay],
      [{ key: '"a\\"b"', member: 'quotes' }, fresh(2)],
      [{ key: 'a"b', member: 'quotes' }, invalid],
    ],
    runs: 2,
  },
  {
    name: 'keys are told apart by case',
    exchanges: [
      [{ key: 'Key', member: 'case' }, fresh()],
      [{ key: 'key', member: 'case' }, fresh(2)],
    ],
    runs: 2,
  },
];

const whoAndWhat: readonly Row[] = [
  {
    name: 'the same again: the same bytes, and the headers on the list alone',
    exchanges: [
      [{}, fresh()],
      [{}, replay],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'whom the service does not know, with a key under which an answer is stored',
    exchanges: [
      [{}, fresh()],
      [{ member: 'expired' }, unknownToTheService],
      [{ member: '' }, unknownToTheService],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'a request of nobody, with a key, without one, and with one that is none',
    exchanges: [
      [{ member: 'nameless' }, problem(401, 'unauthenticated')],
      [{ member: 'nameless', key: [] }, problem(401, 'unauthenticated')],
      [{ member: 'nameless', key: '' }, problem(401, 'unauthenticated')],
    ],
    runs: 0,
  },
  {
    name: 'another member with the same key',
    exchanges: [
      [{}, fresh()],
      [{ member: 'lee' }, fresh(2)],
      [{}, replay],
    ],
    runs: 2,
  },
  {
    name: 'a route on which a key is everybody’s',
    exchanges: [
      [{ path: '/everybody' }, fresh()],
      [{ path: '/everybody', member: 'lee' }, replay],
      [{ path: '/everybody', member: 'expired' }, unknownToTheService],
    ],
    runs: 1,
  },
  {
    name: 'the key of another route',
    exchanges: [
      [{}, fresh()],
      [{ path: '/refund' }, fresh(2)],
      [{}, replay],
    ],
    runs: 2,
  },
  {
    name: 'another thing on the same route',
    handler: async (_, { params }) => ({
      status: 200,
      headers: TEXT,
      body: Buffer.from(`paid ${params.id}`),
    }),
    exchanges: [
      [{ path: '/orders/7/pay' }, whole(200, 'paid 7')],
      [{ path: '/orders/8/pay' }, mismatch],
      [{ path: '/orders/7/pay' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'a body that differs in one space',
    exchanges: [
      [{}, fresh()],
      [{ body: '{"amount": 1000}' }, mismatch],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'a body that says the same in another order',
    exchanges: [
      [{ body: '{"a":1,"b":2}' }, fresh()],
      [{ body: '{"b":2,"a":1}' }, mismatch],
    ],
    runs: 1,
  },
  {
    name: 'another query',
    exchanges: [
      [{ path: '/pay?currency=KRW' }, fresh()],
      [{ path: '/pay?currency=USD' }, mismatch],
      [{ path: '/pay' }, mismatch],
      [{ path: '/pay?currency=KRW' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'a route that does not require a key, without one and with one',
    exchanges: [
      [{ path: '/optional', key: [] }, fresh()],
      [{ path: '/optional', key: [] }, fresh(2)],
      [{ path: '/optional', key: '' }, invalid],
      [{ path: '/optional' }, fresh(3)],
      [{ path: '/optional' }, replayOf(3)],
    ],
    runs: 3,
  },
  {
    name: 'a route without a guard',
    exchanges: [
      [{ path: '/unguarded' }, fresh()],
      [{ path: '/unguarded' }, fresh(2)],
    ],
    runs: 2,
  },
  {
    name: 'a body that its framework cannot read',
    exchanges: [
      [{ body: '{"amount":' }, (received) => expect(received.status).toBe(400)],
      [{}, fresh()],
    ],
    runs: 1,
  },
];

const bodies: readonly Row[] = [
  {
    name: 'the handler is given the body',
    handler: echo,
    exchanges: [
      [{ body: '{"amount":1000}' }, whole(200, '{"amount":1000}')],
      [{ body: '{"amount":1000}' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'bytes, both ways',
    handler: echo,
    exchanges: [
      [{ body: EVERY_BYTE, headers: BYTES }, whole(200, EVERY_BYTE)],
      [{ body: EVERY_BYTE, headers: BYTES }, replay],
      [{ body: EVERY_BYTE.toReversed(), headers: BYTES }, mismatch],
    ],
    runs: 1,
  },
  {
    name: 'no body',
    handler: echo,
    exchanges: [
      [{ body: undefined }, whole(200)],
      [{ body: undefined }, replay],
      [{ body: '{}' }, mismatch],
    ],
    runs: 1,
  },
  {
    name: 'a body in chunks',
    handler: echo,
    exchanges: [
      [{ headers: { 'transfer-encoding': 'chunked' } }, whole(200, '{"amount":1000}')],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'a body of some 60 kB',
    handler: echo,
    exchanges: [
      [{ body: JSON.stringify(['x'.repeat(60_000)]) }, whole(200, JSON.stringify(['x'.repeat(60_000)]))],
      [{ body: JSON.stringify(['x'.repeat(60_000)]) }, replay],
      [{ body: JSON.stringify([`${'x'.repeat(59_999)}y`]) }, mismatch],
    ],
    runs: 1,
  },
  {
    name: 'a body that is compressed',
    handler: echo,
    exchanges: [
      [
        { body: gzipSync('{"amount":1000}'), headers: { 'content-encoding': 'gzip' } },
        whole(200, '{"amount":1000}'),
      ],
      [{ body: gzipSync('{"amount":1000}'), headers: { 'content-encoding': 'gzip' } }, replay],
      [{ body: gzipSync('{"amount":1001}'), headers: { 'content-encoding': 'gzip' } }, mismatch],
    ],
    runs: 1,
    only: ({ inflates }) => inflates,
  },
];

const answers: readonly Row[] = [
  {
    name: 'a decline',
    handler: answering(402, Buffer.from('declined'), TEXT),
    exchanges: [
      [{}, whole(402, 'declined')],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'an answer without a body',
    handler: answering(204),
    exchanges: [
      [{}, whole(204)],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'an answer 304',
    handler: answering(304, undefined, { etag: '"7"' }),
    exchanges: [
      [{}, whole(304)],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'an empty answer with status 200',
    handler: answering(200, Buffer.alloc(0), TEXT),
    exchanges: [
      [{}, whole(200)],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'an answer that is compressed already',
    handler: answering(200, gzipSync('compressed'), { ...TEXT, 'content-encoding': 'gzip', vary: 'accept' }),
    exchanges: [
      [{}, whole(200, gzipSync('compressed'))],
      [{}, replay],
    ],
    runs: 1,
  },
  {
    name: 'a HEAD request',
    handler: answering(200, Buffer.from('report'), { ...TEXT, etag: '"7"' }),
    exchanges: [
      [{ method: 'HEAD', path: '/report', body: undefined }, whole(200)],
      [
        { method: 'HEAD', path: '/report', body: undefined },
        ({ status, body, headers }) => {
          expect({ status, body: body.length }).toEqual({ status: 200, body: 0 });
          expect(headers).toMatchObject({ 'idempotency-replayed': 'true', etag: '"7"' });
        },
      ],
    ],
    runs: 1,
  },
  {
    name: 'an answer that means that nothing was done',
    handler: async (run) => ({ status: run === 1 ? 429 : 200 }),
    exchanges: [
      [{}, whole(429)],
      [{}, whole(200)],
      [{}, replayOf(1)],
    ],
    runs: 2,
  },
  {
    name: 'an answer that is just small enough',
    handler: answering(200, Buffer.alloc(MOST_BYTES), BYTES),
    exchanges: [
      [{ path: '/small' }, whole(200, Buffer.alloc(MOST_BYTES))],
      [{ path: '/small' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'an answer that is too large',
    handler: answering(200, Buffer.alloc(MOST_BYTES + 1), { ...BYTES, 'set-cookie': 'session=1' }),
    exchanges: [
      [{ path: '/small' }, problem(500, 'answer-too-large')],
      [{ path: '/small' }, replay],
    ],
    runs: 1,
  },
  {
    name: 'a store that is not there',
    exchanges: [
      [{ path: '/unreachable' }, problem(503, 'store-unavailable')],
      [{ path: '/silent' }, problem(503, 'store-unavailable')],
    ],
    runs: 0,
  },
];

export const rows: readonly Row[] = [...shapesOfKeys, ...whoAndWhat, ...bodies, ...answers];
