import { expect, test } from 'vitest';
import { judgeCoupons } from '../../../src/checkers/judge-coupons.ts';
import { summarise } from '../../../src/checkers/violation.ts';
import {
  about,
  answer,
  COUPON,
  campaign,
  evidence,
  failed,
  granted,
  refused,
  soldOut,
  story,
} from './coupon-histories.ts';

test('a good race passes', () => {
  const history = evidence(soldOut(), about('coupon-b', soldOut()));
  expect(judgeCoupons(history)).toEqual({ verdict: 'pass', violations: [], unknownBecause: null });
});

test('the published figure passes: a hundred of a thousand, nine hundred left', () => {
  const answers = Array.from({ length: 100 }, (_, index) => granted(index, 0, 999 - index, 1000));
  const history = evidence(story(answers, { campaign: campaign({ initial: 1000 }) }));
  expect(history.rows.coupons).toMatchObject([{ remaining: 900 }]);
  expect(judgeCoupons(history).verdict).toBe('pass');
});

test('one violation among good coupons fails the race, by every invariant that it breaks', () => {
  const lost = [granted(1, 0, 2), granted(2, 0, 2)];
  const told = story(lost);
  const history = evidence(about('coupon-b', soldOut()), {
    ...told,
    row: told.row && { ...told.row, remaining: 2 },
  });
  const { verdict, violations, unknownBecause } = judgeCoupons(history);
  expect(verdict).toBe('fail');
  expect(unknownBecause).toBeNull();
  expect(violations.map(({ invariant, couponId }) => [invariant, couponId])).toEqual([
    ['I4', COUPON],
    ['I5', COUPON],
    ['I10', COUPON],
  ]);
  expect(summarise(violations).map(({ invariant, count }) => [invariant, count])).toEqual([
    ['I4', 1],
    ['I5', 1],
    ['I10', 1],
  ]);
});

test('evidence about a coupon that is no campaign makes the verdict unknown', () => {
  const { campaigns, ...rest } = evidence(soldOut(), about('coupon-b', soldOut()));
  const { verdict, unknownBecause } = judgeCoupons({ ...rest, campaigns: campaigns.slice(0, 1) });
  expect(verdict).toBe('unknown');
  expect(unknownBecause).toMatch(
    /checkGrants threw RangeError: coupon coupon-b is no campaign's; checkStock threw/,
  );
});

test('two campaigns about one coupon make the verdict unknown', () => {
  const { campaigns, ...rest } = evidence(soldOut());
  const twice = judgeCoupons({ ...rest, campaigns: [...campaigns, ...campaigns] });
  expect(twice).toMatchObject({ verdict: 'unknown', unknownBecause: expect.stringMatching(/two campaigns/) });
});

test('a search that is given up makes the verdict unknown, and what was found is told', () => {
  // Four thousand at once: just to look at all of them for each place takes more steps than there are.
  const blind = Array.from({ length: 4000 }, (_, index) => ({
    ...answer(index, 0, { status: 200 }),
    releasedAtUs: index,
    answeredAtUs: 10_000 + ((index * 7919) % 10_007),
  }));
  const history = evidence(
    { ...soldOut(), answers: [...soldOut().answers, granted(1, 100, -1)] },
    about(
      'coupon-b',
      story([...blind, refused(5000, 100, 'sold-out')], { campaign: campaign({ initial: 5000 }) }),
    ),
  );
  const { verdict, violations, unknownBecause } = judgeCoupons(history);
  expect(unknownBecause).toMatch(
    /^checkOrder threw UndecidedOrderError: the answers about coupon coupon-b: no order after \d+ steps$/,
  );
  expect(verdict).toBe('unknown');
  expect(violations.map(({ invariant, couponId }) => `${invariant} ${couponId}`)).toContain(`I10 ${COUPON}`);
});

test.each([401, 404, 400, 500, undefined])(
  'when every answer is %s and nothing was issued, nothing was raced',
  (status) => {
    const judgement = judgeCoupons(
      evidence(soldOut(), about('coupon-b', story([answer(1, 0, { status }), answer(2, 0, { status })]))),
    );
    expect(judgement.verdict).toBe('unknown');
    expect(judgement.unknownBecause).toBe(
      'no request of 2 for coupon coupon-b was answered 200, and nothing was issued',
    );
    expect(judgement.violations).not.toEqual([]);
  },
);

test('a strategy that fails everybody, but issues, has failed', () => {
  const told = soldOut();
  const answers = told.answers.map(({ memberId, requestId }) => ({ ...failed(memberId, 0), requestId }));
  expect(judgeCoupons(evidence({ ...told, answers })).verdict).toBe('fail');
});

test('a strategy that says yes to everybody and issues nothing has failed', () => {
  const { verdict, violations } = judgeCoupons(evidence({ ...soldOut({ snapshots: [] }), issued: [] }));
  expect(verdict).toBe('fail');
  expect(violations.map(({ invariant }) => invariant)).toContain('I6');
});

test('nothing at all proves nothing', () => {
  expect(judgeCoupons(evidence()).verdict).toBe('unknown');
  expect(judgeCoupons(evidence(story([]))).verdict).toBe('unknown');
});
