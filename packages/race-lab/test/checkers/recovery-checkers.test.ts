import { describe, expect, test } from 'vitest';
import { judgeRecovery } from '../../src/checkers/judge-recovery.ts';
import { checkSameAnswer } from '../../src/checkers/same-answer.ts';
import { checkSettled } from '../../src/checkers/settled.ts';
import { checkTrueAnswer } from '../../src/checkers/true-answer.ts';
import type { DurableCallRow } from '../../src/history/durable-calls.ts';
import type { RecoveryEvidence, RecoveryPromise } from '../../src/history/recovery-evidence.ts';
import {
  answer,
  bill,
  call,
  capture,
  confirm,
  declined,
  evidence,
  order,
  paid as paidAmong,
  refundedInstead,
  refused,
  replayed,
  type Story,
  takenBack,
} from './histories.ts';

/** Whoever comes too early asks again, and hears what the first did. */
const tooEarly = (orderId: string, requestId: string) =>
  answer(orderId, requestId, { status: 400, code: 'in-progress' });
const paid = (orderId: string, over: Partial<Story> = {}, others = [tooEarly, replayed, replayed]) =>
  paidAmong(orderId, over, others);

const A = 'order-a';
const r = (index: number) => `${A}-r${index}`;

/** Mended at 2000, and to be settled within 3000 from then. */
const promised: RecoveryPromise = {
  ...{ struckAtMs: 1800, healedAtMs: 2000, withinMs: 3000, mayOutlastSession: false, afterSessionMs: 2000 },
  ends: ['COMPLETE', 'WAITING', 'REFUNDED'],
};

interface Recovered {
  story: Story;
  calls: DurableCallRow[];
  promise: RecoveryPromise;
}

function recovered(
  story: Story,
  calls: DurableCallRow[] = [call(A)],
  change: Partial<RecoveryPromise> = {},
): Recovered {
  return { story, calls, promise: { ...promised, ...change } };
}

/** Between two good orders, of which nothing must be reported. */
function evidenceOf({ story, calls, promise }: Recovered): RecoveryEvidence {
  return {
    ...evidence(paid('order-0'), story, paid('order-z')),
    calls: [call('order-0'), ...calls, call('order-z')],
    promises: new Map([
      ['order-0', promised],
      [A, promise],
      ['order-z', promised],
    ]),
  };
}

interface Case {
  name: string;
  history: Recovered;
  says: RegExp[];
}

function judges(
  check: (evidence: RecoveryEvidence) => { invariant: string; detail: string }[],
  cases: readonly Case[],
): void {
  test.each(cases)('$name', ({ history, says }) => {
    const details = check(evidenceOf(history)).map(({ invariant, detail }) => `${invariant} ${detail}`);
    expect(details).toHaveLength(says.length);
    for (const [index, pattern] of says.entries()) expect(details[index]).toMatch(pattern);
  });
}

const settledAt = (changedAtMs: number, over: Partial<DurableCallRow> = {}) =>
  call(A, { changedAtMs, fence: 3, ...over });

describe('I8: nothing stays unknown, and everything ends in time', () => {
  judges(checkSettled, [
    { name: 'accepts a paid order', history: recovered(paid(A)), says: [] },
    { name: 'accepts one that was taken back', history: recovered(takenBack(A)), says: [] },
    { name: 'accepts one that was refunded instead', history: recovered(refundedInstead(A)), says: [] },
    {
      name: 'accepts one that was given back, and never claimed again',
      history: recovered(declined(A), [call(A, { state: 'released' })]),
      says: [],
    },
    {
      name: 'accepts who was told that it is not known, and then heard the answer',
      history: recovered(
        paid(A, { answers: [answer(A, r(0), { status: 202 }), refused(A, r(1)), replayed(A, r(2))] }),
      ),
      says: [],
    },
    {
      name: 'accepts one that was settled in the last moment',
      history: recovered(paid(A), [settledAt(5000)]),
      says: [],
    },
    {
      name: 'rejects one that was settled a moment later',
      history: recovered(paid(A), [settledAt(5001)]),
      says: [
        /^I8 .*attempt 1 at order-a, taken over 2 times, was done only 3001 ms after the fault, 1 ms too late/,
      ],
    },
    {
      name: 'counts from the claim of what was claimed after the fault',
      history: recovered(paid(A), [settledAt(7900, { attempt: 2, createdAtMs: 5000 })]),
      says: [],
    },
    {
      name: 'rejects one that was claimed after the fault and took too long',
      history: recovered(paid(A), [settledAt(8001, { attempt: 2, createdAtMs: 5000 })]),
      says: [/attempt 2 .* 1 ms too late/],
    },
    {
      name: "accepts one that lasted until its session's end, where asking again does not settle it",
      history: recovered(paid(A), [settledAt(6900)], { mayOutlastSession: true }),
      says: [],
    },
    {
      name: 'rejects it where that had long been over',
      history: recovered(paid(A), [settledAt(7001)], { mayOutlastSession: true }),
      says: [/1 ms too late/],
    },
    {
      name: 'rejects it where asking again would have settled it',
      history: recovered(paid(A), [settledAt(6900)]),
      says: [/1900 ms too late/],
    },
    ...['calling', 'unknown', 'looking', 'compensating', 'stuck'].map((state) => ({
      name: `rejects an attempt that is ${state}`,
      history: recovered(paid(A), [call(A, { state, fence: 2 })]),
      says: [new RegExp(`^I8 .*attempt 1 at order-a, taken over 1 times, is still ${state}`)],
    })),
    ...['PENDING', 'REFUNDING'].map((status) => ({
      name: `rejects an order that is ${status}`,
      history: recovered(paid(A, { orders: [order(A, { status })] })),
      says: [new RegExp(`^I8 .*it is still ${status}`)],
    })),
    {
      name: 'rejects an order that ended where it may not',
      history: recovered(paid(A), [call(A)], { ends: ['WAITING'] }),
      says: [/^I8 .*it is COMPLETE, and may end WAITING only/],
    },
    {
      name: 'rejects an order that the shop has lost',
      history: recovered(paid(A, { orders: [] })),
      says: [/it is unknown to the shop/],
    },
    ...[
      { status: 202, told: '202' },
      { status: 500, told: '500' },
      { status: undefined, error: 'reset', told: 'reset' },
    ].map(({ told, ...last }) => ({
      name: `rejects clients of whom the last was told ${told}`,
      history: recovered(paid(A, { answers: [answer(A, r(0), { status: 202 }), answer(A, r(1), last)] })),
      says: [
        new RegExp(`none of 2 requests with payment key order-a got a final answer; the last got ${told}`),
      ],
    })),
    {
      name: 'rejects clients who were only told that it is being paid',
      history: recovered(paid(A, { answers: [answer(A, r(0), { status: 400, code: 'in-progress' })] })),
      says: [/none of 1 requests .* the last got 400/],
    },
    {
      name: 'rejects it for one payment key, though another was answered',
      history: recovered(
        paid(A, { answers: [answer(A, r(0), { status: 202 }), answer(A, r(1), { paymentKey: 'key-2' })] }),
      ),
      says: [/none of 1 requests with payment key order-a got a final answer/],
    },
    {
      name: 'rejects a capture that nobody asked for and that is still being given back',
      history: recovered(declined(A), [call(A, { subject: 'stray:key', state: 'compensating' })]),
      says: [/attempt 1 at stray:key, taken over 0 times, is still compensating/],
    },
  ]);
});

describe('I9: the same request, the same answer', () => {
  const late = (index: number, over: Parameters<typeof answer>[2]) =>
    answer(A, r(index), { answeredAtUs: 1000 + index, ...over });
  const withAnswers = (...answers: Story['answers']) => recovered(paid(A, { answers }));
  judges(checkSameAnswer, [
    { name: 'accepts one answer', history: recovered(paid(A, {}, [])), says: [] },
    {
      name: 'accepts the same bytes again and again',
      history: recovered(paid(A, {}, [replayed, replayed])),
      says: [],
    },
    {
      name: 'accepts that others were told meanwhile to wait, or nothing',
      history: withAnswers(
        late(0, { status: 202 }),
        late(1, { status: 400, code: 'in-progress' }),
        late(2, { status: 503 }),
        late(3, { status: undefined, error: 'reset' }),
        late(4, {}),
        late(5, { replayed: true }),
      ),
      says: [],
    },
    {
      name: 'accepts another answer to another payment key',
      history: withAnswers(late(0, { status: 400, code: 'declined' }), late(1, { paymentKey: 'key-2' })),
      says: [],
    },
    {
      name: 'rejects a success after a decline',
      history: withAnswers(late(0, { status: 400, code: 'declined' }), late(1, {})),
      says: [
        /^I9 .*payment key order-a was answered 400 declined \(order-a-r0.*then otherwise 1 times: 200 \(order-a-r1/,
      ],
    },
    {
      name: 'rejects a decline after a success, in whatever order they are listed',
      history: withAnswers(late(1, { status: 400, code: 'declined' }), late(0, {})),
      says: [/^I9 .*was answered 200 .* otherwise 1 times: 400 declined/],
    },
    {
      name: 'rejects another bill',
      history: withAnswers(late(0, {}), late(1, { bodyDigest: 'another' }), late(2, {})),
      says: [/^I9 .*otherwise 1 times: 200 \(order-a-r1, body another\)/],
    },
  ]);
});

describe('the verdict', () => {
  test('a recovered history passes', () => {
    expect(judgeRecovery(evidenceOf(recovered(paid(A))), 'COMPLETE')).toEqual({
      verdict: 'pass',
      violations: [],
      unknownBecause: null,
    });
  });

  test('charged and not billed, nobody told: the order that was never recovered', () => {
    const story = paid(A, {
      answers: [answer(A, r(0), { status: 202 })],
      ledger: [confirm(A, r(0)), capture(A)],
      bills: [],
      orders: [order(A, { status: 'PENDING' })],
      audit: paid(A).audit.slice(0, 1),
    });
    const { verdict, violations } = judgeRecovery(
      evidenceOf(recovered(story, [call(A, { state: 'unknown' })])),
      'COMPLETE',
    );
    expect(verdict).toBe('fail');
    expect(new Set(violations.map(({ invariant }) => invariant))).toEqual(new Set(['I2', 'I8']));
  });

  test('where most orders ended otherwise than they should, nothing was shown', () => {
    const verdict = judgeRecovery(evidenceOf(recovered(paid(A))), 'REFUNDED');
    expect(verdict).toMatchObject({
      verdict: 'unknown',
      unknownBecause: 'only 0 of 3 orders are REFUNDED, fewer than 50 %',
    });
  });

  test('a bill of another is a violation, however it came about', () => {
    const story = paid(A, { bills: [bill(A, { memberId: '2' })] });
    expect(judgeRecovery(evidenceOf(recovered(story)), 'COMPLETE').verdict).toBe('fail');
  });
});

describe('I8: the client of an owner that stood still', () => {
  const told = (...answers: Story['answers']) =>
    checkTrueAnswer(answers, r(0)).map(({ invariant, detail }) => `${invariant} ${detail}`);

  test.each([200, 404])('hears a final answer: %s', (status) => {
    expect(told(answer(A, r(0), { status }), answer(A, r(1), { status: 500 }))).toEqual([]);
  });

  test.each([
    ['202', { status: 202 }],
    ['400 in-progress', { status: 400, code: 'in-progress' }],
    ['500', { status: 500 }],
    ['reset', { status: undefined, error: 'reset' }],
  ])('and not %s', (shown, over) => {
    expect(told(answer(A, r(0), over), answer(A, r(1)))).toEqual([
      `I8 order order-a: request order-a-r0, whose owner stood still until others had finished it, was answered ${shown}`,
    ]);
  });

  test('and not nothing', () => {
    expect(told(answer(A, r(1)))).toEqual([expect.stringMatching(/was answered nothing$/)]);
  });
});
