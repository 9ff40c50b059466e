import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { arrivalSpread } from '../../src/history/arrival-spread.ts';
import { ledgerSummary, patterns, replays, responses } from '../../src/history/counts.ts';
import { LedgerFormatError, parseLedger } from '../../src/history/ledger.ts';
import { percentiles } from '../../src/history/percentiles.ts';
import { answer, capture, confirm, numbered, refund, refused, replayed } from './histories.ts';

describe('reading a ledger', () => {
  const at = '2026-01-01T00:00:00.000Z';
  const session = { seq: 1, at, type: 'session', orderId: 'a', expiresAt: at };
  const text = (...events: object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join('');

  test('events come back as they were printed, without the fields that no checker needs', () => {
    const events = [
      { ...confirm('a', 'r0'), amount: null },
      capture('a'),
      { ...refund('a'), requestId: 'r9' },
    ];
    // Absent where the key was right.
    const printed = numbered(events).map((event) => ({
      ...event,
      keyRefused: undefined,
      more: true,
      wellFormed: true,
    }));
    expect(parseLedger(text(...printed))).toEqual(numbered(events));
    expect(parseLedger(text(session, { seq: 2, at, type: 'answer', body: '{}' }))).toEqual([
      { seq: 1, at, type: 'session' },
      { seq: 2, at, type: 'answer' },
    ]);
    const refused = { ...confirm('a', 'r0'), seq: 1, orderId: null, keyRefused: true };
    expect(parseLedger(text(refused))).toEqual([refused]);
    const fault = {
      seq: 1,
      at,
      type: 'fault',
      kind: 'lag',
      operation: 'lookup',
      orderId: 'a',
      requestId: null,
    };
    expect(parseLedger(text({ ...fault, ruleId: 'flt_1', when: null, paymentKey: 'k' }))).toEqual([fault]);
  });

  test('a ledger may be empty, begin anywhere, and end without a newline', () => {
    expect(parseLedger('')).toEqual([]);
    expect(parseLedger(text({ ...session, seq: 7 }).trimEnd())).toHaveLength(1);
  });

  test.each([
    ['a torn line', `${text(session)}{"seq":2,`, 2, /not JSON/],
    ['an empty line', `${text(session)}\n${text({ ...session, seq: 2 })}`, 2, /not JSON/],
    ['a line that is no object', '[]\n', 1, /not an object/],
    ['null', 'null\n', 1, /not an object/],
    ['an unknown type', text({ ...session, type: 'gift' }), 1, /type must be one of session, request/],
    ['a gap', text(session, { ...session, seq: 3 }), 2, /seq 3 follows 1/],
    ['a repeated line', text(session, session), 2, /seq 1 follows 1/],
    ['no seq', text({ ...session, seq: undefined }), 1, /seq must be a whole number ≥ 1, got nothing/],
    ['an unknown operation', text({ ...confirm('a', 'r'), seq: 1, operation: 'x' }), 1, /operation must be/],
    ['an amount in text', text({ ...capture('a'), seq: 1, amount: '5' }), 1, /amount must be .* got "5"/],
    ['an amount of zero', text({ ...capture('a'), seq: 1, amount: 0 }), 1, /amount must be/],
    [
      'an amount that JSON cannot hold',
      text({ ...capture('a'), seq: 1 }).replace('1000', '9007199254740993'),
      1,
      /amount/,
    ],
    ['a capture of no order', text({ ...capture('a'), seq: 1, orderId: null }), 1, /orderId must be text/],
    ['a refund without its capture', text({ ...refund('a'), seq: 1, captureId: '' }), 1, /captureId must be/],
    ['a fault of no kind', text({ seq: 1, at, type: 'fault', operation: 'confirm' }), 1, /kind must be text/],
    [
      'a key that is refused or not',
      text({ ...confirm('a', 'r'), seq: 1, keyRefused: 'no' }),
      1,
      /keyRefused/,
    ],
    [
      'a request id in numbers',
      text({ ...confirm('a', 'r'), seq: 1, requestId: 5 }),
      1,
      /requestId must be text or null/,
    ],
  ])('%s is an error that names its line', (_name, ndjson, line, message) => {
    let thrown: unknown;
    try {
      parseLedger(ndjson);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(LedgerFormatError);
    expect(thrown).toMatchObject({ code: 'BAD_LEDGER', line });
    expect(String(thrown)).toMatch(message);
  });
});

describe('counting', () => {
  const none = answer('c', 'r2', { status: undefined, error: 'timeout' });
  const answers = [
    ...[answer('a', 'r0'), refused('a', 'r1'), replayed('a', 'r2')],
    ...[answer('b', 'r0'), answer('b', 'r1', { status: 500 }), answer('b', 'r2', { status: 404 })],
    ...[answer('c', 'r0', { status: 202 }), refused('c', 'r1'), none],
    ...[refused('d', 'r0'), answer('d', 'r1'), refused('d', 'r2')],
  ];

  test('responses are counted by status, and silence as none', () => {
    expect(responses(answers)).toEqual({ 200: 4, 202: 1, 400: 4, 404: 1, 500: 1, none: 1 });
  });

  test('patterns count orders: successes, refusals and replays, everything else but 202; the most frequent first', () => {
    expect(Object.entries(patterns(answers))).toEqual([
      ['1/2/0', 2],
      ['1/0/2', 1],
      ['0/1/1', 1],
    ]);
  });

  test('only a repeated success is a replay', () => {
    expect(replays(answers)).toBe(1);
    const repeatedFailure = answer('a', 'r3', { status: 500, replayed: true });
    expect(replays([repeatedFailure])).toBe(0);
    expect(patterns([repeatedFailure])).toEqual({ '0/0/1': 1 });
  });

  test('the ledger is summed up for the orders of the run', () => {
    const at = '2026-01-01T00:00:00.000Z';
    const operation = 'confirm' as const;
    const fault = {
      seq: 0,
      at,
      type: 'fault' as const,
      kind: 'reset',
      operation,
      orderId: 'a',
      requestId: 'r0',
    };
    const ledger = numbered([
      ...[
        confirm('a', 'r0'),
        confirm('a', 'r1'),
        capture('a'),
        { ...confirm('a', 'r2'), operation: 'lookup' as const },
      ],
      ...[confirm('b', 'r0'), capture('b'), capture('b'), refund('b')],
      ...[confirm('other', 'r0'), confirm('other', 'r1'), capture('other'), capture('other')],
      ...[{ ...confirm('a', 'r3'), orderId: null }, fault],
    ]);
    expect(ledgerSummary(ledger, new Set(['a', 'b', 'c']))).toEqual({
      requests: 3,
      captures: 3,
      refunds: 1,
      ordersRequestedTwice: 1,
      ordersCapturedTwice: 1,
    });
  });

  test('arrivals are compared within an order', () => {
    const arrived = (orderId: string, arrivedAtUs: number | undefined) =>
      answer(orderId, 'r', { arrivedAtUs });
    const spread = arrivalSpread([
      ...[arrived('a', 5_000), arrived('b', 1), arrived('a', 3_500), arrived('a', 4_000)],
      ...[arrived('b', undefined), arrived('c', 10), arrived('c', 10)],
    ]);
    expect([...spread]).toEqual([
      ['a', 1.5],
      ['c', 0],
    ]);
  });
});

describe('percentiles by nearest rank', () => {
  test('of nothing there are none', () => expect(percentiles([])).toBeNull());

  test('of 1 to 100 they are what they are called', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentiles(values)).toEqual({ p50: 50, p90: 90, p95: 95, p99: 99, max: 100 });
    expect(values[0]).toBe(100);
  });

  test('of few values they are values that occurred', () => {
    expect(percentiles([7])).toEqual({ p50: 7, p90: 7, p95: 7, p99: 7, max: 7 });
    expect(percentiles([10, 9])).toEqual({ p50: 9, p90: 10, p95: 10, p99: 10, max: 10 });
  });

  test('p is the least value that at least that share does not exceed', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const result = percentiles(values);
        const shareUpTo = (limit: number) => values.filter((value) => value <= limit).length / values.length;
        const shareBelow = (limit: number) => values.filter((value) => value < limit).length / values.length;
        for (const [name, share] of [
          ['p50', 0.5],
          ['p90', 0.9],
          ['p95', 0.95],
          ['p99', 0.99],
        ] as const) {
          expect(shareUpTo(result?.[name] ?? Number.NaN)).toBeGreaterThanOrEqual(share);
          expect(shareBelow(result?.[name] ?? Number.NaN)).toBeLessThan(share);
        }
      }),
    );
  });
});
