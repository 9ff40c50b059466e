import { describe, expect, test } from 'vitest';
import { checkAcknowledged } from '../../src/checkers/acknowledged.ts';
import { checkCaptures } from '../../src/checkers/captures.ts';
import { checkMoneyAndBills } from '../../src/checkers/money-and-bills.ts';
import { checkOneSuccess } from '../../src/checkers/one-success.ts';
import { checkRefunds } from '../../src/checkers/refunds.ts';
import { checkRefusals } from '../../src/checkers/refusals.ts';
import { checkStatusChanges } from '../../src/checkers/status-changes.ts';
import type { Checker } from '../../src/checkers/violation.ts';
import {
  answer,
  audit,
  bill,
  cancel,
  capture,
  confirm,
  declined,
  evidence,
  order,
  PAID_PATH,
  paid,
  refund,
  refundedInstead,
  refused,
  replayed,
  type Story,
  takenBack,
} from './histories.ts';

const A = 'order-a';
const r = (index: number) => `${A}-r${index}`;
const refundedOnce = [capture(A), refund(A), capture(A, { captureId: 'second', requestId: r(1) })];

/** Every bad history stands between two good orders, which must stay out of what is reported. */
function reported(check: Checker, story: Story): string[] {
  const violations = check(evidence(paid('order-0'), story, paid('order-z')));
  for (const { orderId, detail } of violations) expect(detail).toContain(`order ${orderId}: `);
  return violations.map(({ invariant, detail }) => `${invariant} ${detail}`);
}

interface Case {
  name: string;
  story: Story;
  /** One pattern for each violation, in order; none: the history is good. */
  says: RegExp[];
}

function judges(check: Checker, cases: readonly Case[]): void {
  test.each(cases)('$name', ({ story, says }) => {
    const details = reported(check, story);
    expect(details).toHaveLength(says.length);
    for (const [index, pattern] of says.entries()) expect(details[index]).toMatch(pattern);
  });
}

const withAnswers = (...answers: Story['answers']) => paid(A, { answers });
const withMoney = (...moves: Story['ledger']) => paid(A, { ledger: [confirm(A, r(0)), ...moves] });

describe('I0: one success, and one question to the provider', () => {
  judges(checkOneSuccess, [
    { name: 'accepts one success and four refusals', story: paid(A), says: [] },
    {
      name: 'accepts replays of the same bytes',
      story: paid(A, {}, [replayed, refused, replayed]),
      says: [],
    },
    {
      name: 'rejects two successes',
      story: withAnswers(answer(A, r(0)), answer(A, r(1)), refused(A, r(2))),
      says: [/^I0 .*2 of 3 requests were answered 200.*200 to order-a-r0, 200 to order-a-r1/],
    },
    {
      name: 'rejects no success',
      story: withAnswers(refused(A, r(0)), refused(A, r(1))),
      says: [/^I0 .*0 of 2 requests were answered 200/],
    },
    {
      name: 'rejects a success that is only ever replayed',
      story: withAnswers(replayed(A, r(0)), refused(A, r(1))),
      says: [/0 of 2 requests were answered 200/, /1 replays do not have the bytes/],
    },
    {
      name: 'rejects a replay of other bytes',
      story: withAnswers(answer(A, r(0)), answer(A, r(1), { replayed: true, bodyDigest: 'another' })),
      says: [/^I0 .*1 replays do not have the bytes of the first answer \(200 to order-a-r1\)/],
    },
    ...[500, 502, 202, 404, 409, 422, 429].map((status) => ({
      name: `rejects a ${status}`,
      story: withAnswers(answer(A, r(0)), answer(A, r(1), { status }), refused(A, r(2))),
      says: [new RegExp(`^I0 .*1 of 3 answers are neither 200 nor 400 \\(${status} to order-a-r1\\)`)],
    })),
    {
      name: 'rejects a replayed 500',
      story: withAnswers(answer(A, r(0)), answer(A, r(1), { status: 500, replayed: true })),
      says: [/neither 200 nor 400/],
    },
    {
      name: 'rejects a missing answer, and says why it is missing',
      story: withAnswers(answer(A, r(0)), answer(A, r(1), { status: undefined, error: 'timeout' })),
      says: [/neither 200 nor 400 \(timeout to order-a-r1\)/],
    },
    {
      name: 'rejects a second confirm request, even if it captured nothing',
      story: withMoney(capture(A), confirm(A, r(1))),
      says: [/^I0 .*2 confirm requests reached the provider, not 1 \(ledger #3, #5\)/],
    },
    {
      name: 'rejects a success for which the provider was not asked',
      story: paid(A, { ledger: [] }),
      says: [/0 confirm requests reached the provider/],
    },
    {
      name: 'does not count a look-up as a confirm',
      story: withMoney({ ...confirm(A, r(0)), operation: 'lookup' }, capture(A)),
      says: [],
    },
  ]);
});

describe('I1: charged once', () => {
  judges(checkCaptures, [
    { name: 'accepts one capture', story: paid(A), says: [] },
    { name: 'accepts none', story: declined(A), says: [] },
    { name: 'accepts a capture that was refunded', story: withMoney(capture(A), refund(A)), says: [] },
    {
      name: 'rejects two captures that stand at once: I1a and I1b',
      story: withMoney(capture(A), capture(A, { captureId: 'second', requestId: r(1) })),
      says: [
        /^I1a .*2 captures stood at once after ledger #5 .*order-a-capture #4 by order-a-r0, second #5 by order-a-r1/,
        /^I1b .*charged 2 times/,
      ],
    },
    {
      name: 'rejects charge, refund, charge: I1b alone',
      story: withMoney(...refundedOnce),
      says: [/^I1b .*charged 2 times/],
    },
    {
      name: 'rejects a double charge that was refunded afterwards: the prefix counts, not the end',
      story: withMoney(capture(A), capture(A, { captureId: 'second' }), refund(A)),
      says: [/^I1a .*2 captures stood at once/, /^I1b/],
    },
    {
      name: 'rejects two charges after one that was given back in two parts: refunds count by amount',
      story: withMoney(
        capture(A),
        refund(A, { amount: 500 }),
        refund(A, { amount: 500, refundId: 'rest' }),
        capture(A, { captureId: 'second' }),
        capture(A, { captureId: 'third' }),
      ),
      says: [/^I1a .*2 captures stood at once/, /^I1b .*charged 3 times/],
    },
    {
      name: 'reports the worst prefix',
      story: withMoney(capture(A), capture(A), capture(A), refund(A)),
      says: [/^I1a .*3 captures stood at once after ledger #6/, /^I1b .*charged 3 times/],
    },
  ]);
});

describe('I3: refunds', () => {
  judges(checkRefunds, [
    { name: 'accepts none', story: paid(A), says: [] },
    { name: 'accepts a full refund', story: withMoney(capture(A), refund(A)), says: [] },
    {
      name: 'accepts a partial refund',
      story: withMoney(capture(A), refund(A, { amount: 1 })),
      says: [],
    },
    { name: 'accepts charge, refund, charge', story: withMoney(...refundedOnce), says: [] },
    {
      name: 'rejects a refund before its capture',
      story: withMoney(refund(A), capture(A)),
      says: [
        /^I3 .*order-a-refund \(ledger #4\) names order-a-capture, which is no earlier capture/,
        /^I3 .*1 refunds of 0 captures at ledger #4/,
        /^I3 .*1000 refunded of 0 captured/,
      ],
    },
    {
      name: 'rejects a second refund of one capture',
      story: withMoney(capture(A), refund(A), refund(A, { refundId: 'again' })),
      says: [
        /again .*gives back 1000, but 0 is left/,
        /2 refunds of 1 captures/,
        /2000 refunded of 1000 captured/,
      ],
    },
    {
      name: 'rejects a refund of more than was captured',
      story: withMoney(capture(A), refund(A, { amount: 1001 })),
      says: [/gives back 1001, but 1000 is left of order-a-capture/, /1001 refunded of 1000 captured/],
    },
    {
      name: 'rejects a refund of more than its own capture, though the order has enough',
      story: withMoney(capture(A), capture(A, { captureId: 'second' }), refund(A, { amount: 1500 })),
      says: [/gives back 1500, but 1000 is left of order-a-capture/],
    },
    {
      name: "rejects a refund that names another order's capture",
      story: withMoney(capture(A), refund(A, { captureId: 'order-0-capture' })),
      says: [/names order-0-capture, which is no earlier capture of the order/],
    },
  ]);
});

describe('I2: money, bills and statuses agree', () => {
  const notPaid = { ledger: [confirm(A, r(0))] };
  judges(checkMoneyAndBills, [
    { name: 'accepts a paid order', story: paid(A), says: [] },
    { name: 'accepts a declined order', story: declined(A), says: [] },
    {
      name: 'accepts a refunded order',
      story: paid(A, {
        ledger: [capture(A), refund(A)],
        bills: [],
        orders: [order(A, { status: 'REFUNDED' })],
      }),
      says: [],
    },
    {
      name: 'accepts a second attempt after a refund, billed for the payment that stands',
      story: paid(A, {
        ledger: [...refundedOnce.slice(0, 2), capture(A, { captureId: 'second', paymentKey: 'key-2' })],
        bills: [bill(A, { paymentKey: 'key-2' })],
      }),
      says: [],
    },
    { name: 'accepts an order that its member took back', story: takenBack(A), says: [] },
    { name: 'accepts an order that was refunded instead of completed', story: refundedInstead(A), says: [] },
    {
      name: 'rejects a refunded order whose bill still stands',
      story: takenBack(A, { bills: [bill(A)] }),
      says: [/^I2 .*1 bills for 0 standing payments, not 0/, /names payment order-a, which does not stand/],
    },
    {
      name: 'rejects a refunded order that is still complete',
      story: takenBack(A, { orders: [order(A)] }),
      says: [/^I2 .*status COMPLETE with 0 standing payments/],
    },
    {
      name: 'rejects a refunded order of which nothing was given back',
      story: declined(A, { orders: [order(A, { status: 'REFUNDED' })] }),
      says: [/^I2 .*status REFUNDED without a refund/],
    },
    {
      name: 'rejects an order whose refund has not ended',
      story: takenBack(A, { orders: [order(A, { status: 'REFUNDING' })] }),
      says: [/^I2 .*status REFUNDING, so its money is on the way/],
    },
    {
      name: 'rejects a bill for the attempt that was refunded',
      story: withMoney(...refundedOnce.slice(0, 2), capture(A, { captureId: 'second', paymentKey: 'key-2' })),
      says: [/^I2 .*bill order-a-bill names payment order-a, which does not stand/],
    },
    {
      name: 'rejects money without a bill',
      story: paid(A, { bills: [] }),
      says: [/^I2 .*0 bills for 1 standing payments, not 1/],
    },
    {
      name: 'rejects two bills for one payment',
      story: paid(A, { bills: [bill(A), bill(A, { billId: 'second' })] }),
      says: [/2 bills for 1 standing payments, not 1 \(order-a-bill, second\)/],
    },
    {
      name: 'rejects a completed order that nobody paid',
      story: paid(A, { ...notPaid, bills: [] }),
      says: [/status COMPLETE with 0 standing payments/],
    },
    {
      name: 'rejects a bill that nobody paid',
      story: declined(A, { bills: [bill(A)] }),
      says: [/1 bills for 0 standing payments, not 0/, /names payment order-a, which does not stand/],
    },
    ...['WAITING', 'PENDING', 'CANCELED'].map((status) => ({
      name: `rejects a paid order that is ${status}`,
      story: paid(A, { orders: [order(A, { status })] }),
      says: [new RegExp(`status ${status} with 1 standing payments`)],
    })),
    {
      name: 'rejects a capture of another amount than the order says',
      story: withMoney(capture(A, { amount: 999 })),
      says: [/the provider kept 999, not 1000/],
    },
    {
      name: 'rejects another currency',
      story: withMoney(capture(A, { currency: 'USD' })),
      says: [/order-a-capture was taken in USD, the order is in KRW/],
    },
    {
      name: 'rejects money kept after a refund in part',
      story: paid(A, {
        ledger: [capture(A), refund(A, { amount: 400 })],
        bills: [],
        orders: [order(A, { status: 'REFUNDED' })],
      }),
      says: [/the provider kept 600, not 0/],
    },
    {
      name: 'rejects two standing payments',
      story: withMoney(capture(A), capture(A, { captureId: 'second' })),
      says: [/2 captures and 0 refunds leave 2 payments, not 0 or 1/],
    },
    {
      name: 'rejects a bill of another amount, member or payment',
      story: paid(A, { bills: [bill(A, { amount: 1, memberId: '2', paymentKey: 'other' })] }),
      says: [
        /is member 2's, the order is member 1's/,
        /says 1, the order's amount is 1000/,
        /names payment other/,
      ],
    },
    {
      name: 'rejects a capture and a bill of an order that the shop does not know',
      story: paid(A, { orders: [] }),
      says: [/unknown to the shop, but billed \(order-a-bill\)/, /moved money for it \(ledger capture #4\)/],
    },
  ]);
});

describe('I6: an acknowledged success stays', () => {
  judges(checkAcknowledged, [
    { name: 'accepts a paid order', story: paid(A), says: [] },
    { name: 'asks nothing of a refused one', story: declined(A), says: [] },
    {
      name: 'rejects a 200 that left nothing behind',
      story: declined(A, { answers: [answer(A, r(0)), refused(A, r(1))] }),
      says: [
        /^I6 .*order-a-r0 was answered 200 with bill order-a-bill, but it has no bill and status WAITING/,
      ],
    },
    {
      name: 'rejects a 200 without a bill',
      story: paid(A, { bills: [] }),
      says: [/no bill and status COMPLETE/],
    },
    {
      name: 'rejects a 200 to an order that is not complete',
      story: paid(A, { orders: [order(A, { status: 'REFUNDED' })] }),
      says: [/bill order-a-bill and status REFUNDED/],
    },
    { name: 'accepts a 200 to an order that its member took back', story: takenBack(A), says: [] },
    {
      name: 'rejects it where nobody took it back',
      story: takenBack(A, { cancels: [] }),
      says: [/^I6 .*no bill and status REFUNDED/],
    },
    {
      name: 'rejects it where who took it back was refused',
      story: takenBack(A, { cancels: [cancel(A, { status: 400 })] }),
      says: [/^I6 .*no bill and status REFUNDED/],
    },
    {
      name: 'accepts it where nobody knows whether it was taken back',
      story: takenBack(A, { cancels: [cancel(A, { status: undefined, error: 'reset' })] }),
      says: [],
    },
    {
      name: 'rejects a 200 that shows a bill of which nothing is left, though there is another',
      story: withAnswers(answer(A, r(0)), answer(A, r(1), { billId: 'lost' })),
      says: [/^I6 .*order-a-r1 was answered 200 with bill lost, but it has bill order-a-bill/],
    },
    {
      name: 'rejects a cancel that was answered 200 and did not last',
      story: paid(A, { cancels: [cancel(A)] }),
      says: [/^I6 .*cancel order-a-cancel was answered 200 with status REFUNDED, but its status is COMPLETE/],
    },
    {
      name: 'rejects a cancel that was answered 200 before it had happened',
      story: takenBack(A, { cancels: [cancel(A, { orderStatus: 'REFUNDING' })] }),
      says: [/^I6 .*cancel .* with status REFUNDING, but its status is REFUNDED/],
    },
    {
      name: 'rejects a replayed 200 to an order that is gone',
      story: paid(A, { answers: [replayed(A, r(0))], orders: [], bills: [] }),
      says: [/no bill and status none, it is unknown to the shop/],
    },
  ]);
});

describe('I7: who was refused caused nothing', () => {
  judges(checkRefusals, [
    { name: 'accepts losers that left nothing', story: paid(A), says: [] },
    { name: 'accepts a decline that claimed the order and gave it back', story: declined(A), says: [] },
    {
      name: 'accepts a refused request whose capture was given back, and its claim with it',
      story: refundedInstead(A, {
        ledger: [confirm(A, r(0)), capture(A, { requestId: r(0) }), refund(A)],
      }),
      says: [],
    },
    {
      name: 'rejects one whose capture was given back in part',
      story: refundedInstead(A, {
        ledger: [confirm(A, r(0)), capture(A, { requestId: r(0) }), refund(A, { amount: 999 })],
      }),
      says: [
        /order-a-r0 was refused \(400\), but made capture/,
        /all 2 requests were refused, but it has capture/,
      ],
    },
    {
      name: 'accepts a decline before somebody else pays',
      story: paid(A, {
        ledger: [confirm(A, r(1)), confirm(A, r(0)), capture(A)],
        audit: [...audit(A, ['WAITING', 'PENDING', 'WAITING'], r(1)), ...audit(A, PAID_PATH, r(0))],
      }),
      says: [],
    },
    {
      name: 'does not take a 500 for a refusal',
      story: withAnswers(answer(A, r(0), { status: 500 }), refused(A, r(1))),
      says: [],
    },
    {
      name: 'rejects a capture of a refused request',
      story: withMoney(capture(A, { requestId: r(2) })),
      says: [
        /^I7 .*order-a-r2 was refused \(400\), but made capture order-a-capture of order-a \(ledger #4\)/,
      ],
    },
    {
      name: "rejects a refused request that captured another order's money",
      story: withMoney(capture('order-0', { captureId: 'stray', requestId: r(1) })),
      says: [/order-a-r1 was refused \(400\), but made capture stray of order-0/],
    },
    {
      name: 'rejects a refused request that completed the order',
      story: paid(A, { audit: audit(A, PAID_PATH, r(3)) }),
      says: [
        /order-a-r3 was refused \(400\), but changed the status: WAITING → PENDING .*PENDING → COMPLETE/,
      ],
    },
    {
      name: 'rejects a refused request that kept its claim',
      story: declined(A, { audit: audit(A, ['WAITING', 'PENDING'], r(0)) }),
      says: [/order-a-r0 was refused \(400\), but changed the status: WAITING → PENDING/],
    },
    {
      name: 'rejects a refused request that claimed again after it was declined',
      story: declined(A, { audit: audit(A, ['WAITING', 'PENDING', 'WAITING', 'PENDING'], r(0)) }),
      says: [/order-a-r0 was refused \(400\), but changed the status/],
    },
    {
      name: 'rejects a refused request that undid a completed order',
      story: paid(A, {
        audit: [...audit(A, PAID_PATH, r(0)), ...audit(A, ['COMPLETE', 'PENDING', 'WAITING'], r(1))],
      }),
      says: [/order-a-r1 was refused \(400\), but changed the status: COMPLETE → PENDING/],
    },
    {
      name: 'rejects a refused request that claimed one order and gave back another',
      story: paid(A, {
        audit: [
          ...audit(A, PAID_PATH, r(0)),
          ...audit(A, ['WAITING', 'PENDING'], r(1)),
          ...audit('order-0', ['PENDING', 'WAITING'], r(1)),
        ],
      }),
      says: [/order-a-r1 was refused \(400\), but changed the status/],
    },
    {
      name: "rejects a refused request that released somebody else's claim",
      story: paid(A, {
        audit: [
          ...audit(A, ['WAITING', 'PENDING'], r(0)),
          ...audit(A, ['PENDING', 'WAITING'], r(1)),
          ...audit(A, PAID_PATH, r(0)),
        ],
      }),
      says: [/order-a-r1 was refused \(400\), but changed the status: PENDING → WAITING/],
    },
    {
      name: 'rejects a 404 as it does a 400',
      story: paid(A, {
        answers: [answer(A, r(0)), answer(A, r(1), { status: 404 })],
        ledger: [confirm(A, r(1)), capture(A, { requestId: r(1) })],
      }),
      says: [/order-a-r1 was refused \(404\)/],
    },
    {
      name: 'rejects effects of an order of which everybody was refused, whoever caused them',
      story: paid(A, {
        answers: [refused(A, r(8)), refused(A, r(9))],
        ledger: [confirm(A, r(8)), capture(A, { requestId: null })],
        audit: audit(A, PAID_PATH, null),
      }),
      says: [
        /all 2 requests were refused, but it has capture order-a-capture, bill order-a-bill, status COMPLETE/,
      ],
    },
  ]);
});

describe('I13: a status moves along allowed edges only', () => {
  const path = (...statuses: string[]) =>
    paid(A, {
      audit: audit(A, ['WAITING', ...statuses], r(0)),
      orders: [order(A, { status: statuses.at(-1) ?? 'WAITING' })],
    });
  judges(checkStatusChanges, [
    ...[
      [],
      ['PENDING', 'COMPLETE'],
      ['PENDING', 'WAITING', 'PENDING', 'COMPLETE'],
      ['PENDING', 'REFUNDING', 'REFUNDED'],
      ['PENDING', 'COMPLETE', 'REFUNDING', 'REFUNDED'],
      ['CANCELED'],
    ].map((statuses) => ({
      name: `accepts ${['WAITING', ...statuses].join(' → ')}`,
      story: path(...statuses),
      says: [],
    })),
    ...[
      ['COMPLETE'],
      ['REFUNDING'],
      ['PENDING', 'PENDING'],
      ['PENDING', 'CANCELED'],
      ['PENDING', 'COMPLETE', 'WAITING'],
      ['PENDING', 'COMPLETE', 'COMPLETE'],
      ['PENDING', 'COMPLETE', 'REFUNDED'],
      ['PENDING', 'REFUNDING', 'WAITING'],
      ['PAID'],
      ['constructor'],
    ].map((statuses) => ({
      name: `rejects ${['WAITING', ...statuses].join(' → ')}`,
      story: path(...statuses),
      says: [/^I13 .*is not an allowed change/],
    })),
    {
      name: 'rejects leaving a status that there is none of',
      story: path('constructor', 'COMPLETE'),
      says: [
        /WAITING → constructor.*is not an allowed change/,
        /constructor → COMPLETE.*is not an allowed change/,
      ],
    },
    {
      name: 'rejects leaving CANCELED',
      story: path('CANCELED', 'PENDING'),
      says: [/CANCELED → PENDING, request order-a-r0\) leaves a terminal status/],
    },
    {
      name: 'rejects leaving REFUNDED',
      story: path('PENDING', 'REFUNDING', 'REFUNDED', 'REFUNDING'),
      says: [/leaves a terminal status/],
    },
    {
      name: 'rejects a path that does not begin at WAITING',
      story: paid(A, { audit: audit(A, ['PENDING', 'COMPLETE'], r(0)) }),
      says: [/^I13 .*\(PENDING → COMPLETE, request order-a-r0\) does not start at WAITING/],
    },
    {
      name: 'rejects two claims of one order: the second does not start where the first ended',
      story: paid(A, {
        audit: [...audit(A, ['WAITING', 'PENDING'], r(0)), ...audit(A, PAID_PATH, r(1))],
      }),
      says: [/\(WAITING → PENDING, request order-a-r1\) does not start at PENDING/],
    },
    {
      name: 'rejects a status that no audit row accounts for',
      story: paid(A, { audit: [] }),
      says: [/status COMPLETE, but its audit ends at WAITING/],
    },
    {
      name: 'rejects an audit that ends elsewhere than the order',
      story: paid(A, { orders: [order(A, { status: 'PENDING' })] }),
      says: [/status PENDING, but its audit ends at COMPLETE/],
    },
    {
      name: 'rejects an audit of an order that the shop does not know',
      story: paid(A, { orders: [] }),
      says: [/its status was changed, but the shop does not know it/],
    },
  ]);
});
