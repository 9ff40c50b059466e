import { expect, test } from 'vitest';
import { judge } from '../../src/checkers/judge.ts';
import { summarise } from '../../src/checkers/violation.ts';
import { withoutOrders } from '../../src/history/evidence.ts';
import { answer, bill, capture, confirm, declined, evidence, order, paid, refused } from './histories.ts';

test('a good race passes', () => {
  expect(judge(evidence(paid('a'), paid('b')))).toEqual({
    verdict: 'pass',
    violations: [],
    unknownBecause: null,
  });
});

test('one violation among good orders fails the race', () => {
  const { verdict, violations, unknownBecause } = judge(evidence(paid('a'), paid('b', { bills: [] })));
  expect(verdict).toBe('fail');
  expect(unknownBecause).toBeNull();
  expect(violations.map(({ invariant, orderId }) => [invariant, orderId])).toEqual([
    ['I2', 'b'],
    ['I6', 'b'],
  ]);
});

test('a checker that throws makes the verdict unknown, whatever the others found', () => {
  const checkNothing = () => {
    throw new Error('cannot read this');
  };
  const found = { invariant: 'I2', orderId: 'a', detail: 'order a: bad' } as const;
  const judgement = judge(evidence(paid('a')), { checkers: [() => [found], checkNothing] });
  expect(judgement.verdict).toBe('unknown');
  expect(judgement.unknownBecause).toBe('checkNothing threw Error: cannot read this');
  expect(judgement.violations).toEqual([found]);
});

test('no answers at all prove nothing', () => {
  expect(judge(evidence()).verdict).toBe('unknown');
});

test.each([401, 404, 400, 500, undefined])(
  'when every answer is %s and nothing reached the provider, nothing was raced',
  (status) => {
    const judgement = judge(
      evidence({
        answers: [answer('a', 'a-r0', { status }), answer('a', 'a-r1', { status })],
        ledger: [],
        orders: [order('a', { status: 'WAITING' })],
        bills: [],
        audit: [],
      }),
    );
    expect(judgement.verdict).toBe('unknown');
    expect(judgement.unknownBecause).toMatch(/no request of 1 orders was answered 200/);
    expect(judgement.violations).not.toEqual([]);
  },
);

test("another run's confirm requests do not make a race", () => {
  const { answers } = declined('a');
  const history = evidence({ ...declined('a', { ledger: [] }), answers }, { ...paid('b'), answers: [] });
  expect(judge(history).verdict).toBe('unknown');
});

test('a strategy that fails everybody, but asked the provider, has failed', () => {
  const answers = [answer('a', 'a-r0', { status: 500 }), refused('a', 'a-r1')];
  expect(judge(evidence(paid('a', { answers }))).verdict).toBe('fail');
});

test('too few paid orders are no pass', () => {
  const checkers = [() => []];
  const history = evidence(paid('a'), declined('b'), declined('c'));
  expect(judge(history, { checkers, minOkShare: 1 / 3 }).verdict).toBe('pass');
  const judgement = judge(history, { checkers, minOkShare: 0.5 });
  expect(judgement.verdict).toBe('unknown');
  expect(judgement.unknownBecause).toBe('only 1 of 3 orders were paid, fewer than 50 %');
});

test.each([0, -1, 1.1, Number.NaN])('refuses %s as the least share', (minOkShare) => {
  expect(() => judge(evidence(paid('a')), { minOkShare })).toThrow(RangeError);
});

test('a summary has one line an invariant, with the first detail', () => {
  const violation = (invariant: 'I0' | 'I2', detail: string) => ({ invariant, orderId: 'a', detail });
  expect(summarise([violation('I2', 'x'), violation('I0', 'y'), violation('I2', 'z')])).toEqual([
    { invariant: 'I2', count: 2, first: 'x' },
    { invariant: 'I0', count: 1, first: 'y' },
  ]);
  expect(summarise([])).toEqual([]);
});

test('leaving out the orders of earlier runs leaves strays in sight', () => {
  const broken = paid('old', { ledger: [confirm('old', 'x'), capture('old'), capture('old')] });
  const stray = { answers: [], ledger: [capture('nobody')], orders: [], bills: [bill('lost')], audit: [] };
  const whole = evidence(broken, paid('a'), stray);
  const ofRun = withoutOrders(whole, new Set(['old']));
  expect(judge(whole).violations.map(({ orderId }) => orderId)).toContain('old');
  expect(new Set(judge(ofRun).violations.map(({ orderId }) => orderId))).toEqual(new Set(['nobody', 'lost']));
});
