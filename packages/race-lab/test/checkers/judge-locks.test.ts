import { describe, expect, test } from 'vitest';
import { doubleCharge } from '../../src/checkers/double-charge.ts';
import { judge } from '../../src/checkers/judge.ts';
import { judgeCoupons } from '../../src/checkers/judge-coupons.ts';
import {
  faultyCouponCheckers,
  faultyPurchaseCheckers,
  MIN_OK_SHARE,
} from '../../src/checkers/judge-locks.ts';
import type { CouponAnswer } from '../../src/history/coupon-answer.ts';
import type { Evidence } from '../../src/history/evidence.ts';
import type { Step } from '../../src/history/steps.ts';
import {
  campaign,
  evidence as couponEvidence,
  failed,
  granted,
  refused as refusedCoupon,
  type Story,
  story,
} from './coupons/coupon-histories.ts';
import { answer, audit, bill, capture, confirm, evidence, PAID_PATH, paid, refused } from './histories.ts';

const judgePurchases = (history: Evidence) =>
  judge(history, { checkers: faultyPurchaseCheckers, minOkShare: MIN_OK_SHARE });

const charged = (requestId: string) => [
  confirm('a', requestId),
  capture('a', { captureId: `cap-${requestId}`, requestId }),
];

/** Both found the order WAITING, charged, and wrote: what a lock that was lost does. */
const chargedTwice = evidence(
  paid(
    'a',
    {
      ledger: [...charged('a-r0'), ...charged('a-r1')],
      bills: [bill('a'), bill('a', { billId: 'second' })],
      audit: [...audit('a', PAID_PATH, 'a-r0'), ...audit('a', PAID_PATH, 'a-r1')],
    },
    [answer, refused],
  ),
);

describe('purchases under a fault', () => {
  test('may be refused and may fail, as long as money and rows are right', () => {
    const unavailable = (orderId: string, requestId: string) => answer(orderId, requestId, { status: 503 });
    const unanswered = (orderId: string, requestId: string) =>
      answer(orderId, requestId, { status: undefined });
    const faulty = evidence(paid('a', {}, [unavailable, unanswered, refused]));
    expect(judgePurchases(faulty)).toMatchObject({ verdict: 'pass', violations: [] });
    // Without faults they are failures.
    expect(judge(faulty).verdict).toBe('fail');
  });

  test('an order that was charged twice fails, by captures, bills and audit', () => {
    const { verdict, violations } = judgePurchases(chargedTwice);
    expect(verdict).toBe('fail');
    expect(new Set(violations.map(({ invariant }) => invariant))).toEqual(
      new Set(['I1a', 'I1b', 'I2', 'I13']),
    );
  });

  test('a charge without its bill fails, and so does a refusal that charged', () => {
    expect(judgePurchases(evidence(paid('a', { bills: [] }))).verdict).toBe('fail');
    const byRefused = paid('a', { ledger: charged('a-r1') });
    expect(judgePurchases(evidence(byRefused)).violations).toMatchObject([{ invariant: 'I7' }]);
  });

  test('how it came to two charges is told in the order of time', () => {
    const steps = new Map<string, Step[]>([
      [
        'a-r0',
        [
          { name: 'read', atUs: 1_000 },
          { name: 'charged', atUs: 900_000 },
        ],
      ],
      [
        'a-r1',
        [
          { name: 'locked', atUs: 501_000 },
          { name: 'charged', atUs: 601_500 },
        ],
      ],
      ['a-r2', [{ name: 'locked', atUs: 700_000 }]],
    ]);
    expect(doubleCharge(chargedTwice.answers, chargedTwice.ledger, steps)).toEqual([
      '+0.0 ms lotto-back-1 read (request a-r0)',
      '+500.0 ms lotto-back-1 locked (request a-r1)',
      '+600.5 ms lotto-back-1 charged (request a-r1)',
      '+899.0 ms lotto-back-1 charged (request a-r0)',
      'order a was charged 2 times: cap-a-r0 by request a-r0, cap-a-r1 by request a-r1',
    ]);
    expect(doubleCharge(chargedTwice.answers, chargedTwice.ledger, new Map())).toEqual([
      expect.stringMatching(/^order a was charged 2 times/),
    ]);
    const once = evidence(paid('a'));
    expect(doubleCharge(once.answers, once.ledger, steps)).toBeNull();
  });
});

describe('coupons under a fault', () => {
  const TEN = campaign({ initial: 10 });
  const judged = (answers: CouponAnswer[], over: Partial<Story> = {}) =>
    judgeCoupons(couponEvidence(story(answers, { campaign: TEN, ...over })), {
      checkers: faultyCouponCheckers,
      minGrantedShare: 0.5,
    });

  test('may be turned away, as long as the stock is right', () => {
    const answers = [
      granted(1, 0, 9, 10),
      refusedCoupon(2, 20, 'fenced'),
      failed(3, 20, 503),
      granted(4, 40, 8, 10),
    ];
    expect(judged(answers)).toMatchObject({ verdict: 'pass', violations: [] });
    // Without faults they would have to be served.
    expect(judgeCoupons(couponEvidence(story(answers, { campaign: TEN }))).verdict).toBe('fail');
  });

  test('a lost update fails', () => {
    const { row } = story([granted(1, 0, 9, 10)], { campaign: TEN });
    const { verdict, violations } = judged([granted(1, 0, 9, 10), granted(2, 1, 9, 10)], { row });
    expect(verdict).toBe('fail');
    expect(violations.map(({ invariant }) => invariant)).toEqual(expect.arrayContaining(['I4', 'I5', 'I10']));
  });

  test('where nearly nobody got one, nothing is proved', () => {
    const away = [2, 3].map((memberId) => failed(memberId, 20, 503));
    expect(judged([granted(1, 0, 9, 10), ...away])).toMatchObject({
      verdict: 'unknown',
      unknownBecause: 'only 1 of 3 members got coupon coupon-a, fewer than 50 %',
    });
  });
});
