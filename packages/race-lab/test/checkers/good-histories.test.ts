import fc from 'fast-check';
import { expect, test } from 'vitest';
import { judge } from '../../src/checkers/judge.ts';
import type { Invariant } from '../../src/checkers/violation.ts';
import type { Evidence } from '../../src/history/evidence.ts';
import type { LedgerEvent } from '../../src/history/ledger.ts';
import { answer, evidence, numbered, paid, refused, replayed } from './histories.ts';

/** A faultless race: every order is paid once, and each loser is refused or hears the winner's answer again. */
const goodHistory: fc.Arbitrary<Evidence> = fc
  .array(fc.array(fc.constantFrom(refused, replayed), { maxLength: 5 }), { minLength: 1, maxLength: 6 })
  .map((orders) => evidence(...orders.map((losers, index) => paid(`order-${index}`, {}, losers))));

const goodHistoryAndSeed = fc.tuple(goodHistory, fc.nat());

function found(history: Evidence): Set<Invariant> {
  const { verdict, violations } = judge(history);
  expect(verdict).toBe('fail');
  return new Set(violations.map(({ invariant }) => invariant));
}

/** Picks by `seed`: which of the items is changed does not matter, all of them must be guarded. */
function pick<Item>(items: readonly Item[], seed: number): { index: number; item: Item } {
  const index = seed % items.length;
  const [item] = items.slice(index);
  if (item === undefined) throw new Error('nothing to pick from');
  return { index, item };
}

test('a good history passes, in whatever order its answers came', () => {
  const shuffled = goodHistory.chain((history) =>
    fc
      .shuffledSubarray([...history.answers], { minLength: history.answers.length })
      .map((answers) => ({ ...history, answers })),
  );
  fc.assert(
    fc.property(shuffled, (history) => {
      expect(judge(history, { minOkShare: 1 })).toEqual({
        verdict: 'pass',
        violations: [],
        unknownBecause: null,
      });
    }),
  );
});

test('a good history passes, however the ledger interleaves its orders', () => {
  const interleaved = goodHistory.chain((history) =>
    fc.infiniteStream(fc.nat()).map((choices) => {
      const queues = [
        ...Map.groupBy(history.ledger, (event) => ('orderId' in event ? event.orderId : null)).values(),
      ];
      const ledger: LedgerEvent[] = [];
      while (queues.length > 0) {
        const { index, item: queue } = pick(queues, choices.next().value);
        ledger.push(...queue.splice(0, 1));
        if (queue.length === 0) queues.splice(index, 1);
      }
      return { ...history, ledger: numbered(ledger) };
    }),
  );
  fc.assert(
    fc.property(interleaved, (history) => {
      expect(judge(history).verdict).toBe('pass');
    }),
  );
});

test('any capture that is missing is noticed', () => {
  fc.assert(
    fc.property(goodHistoryAndSeed, ([history, seed]) => {
      const { item } = pick(
        history.ledger.filter(({ type }) => type === 'capture'),
        seed,
      );
      const ledger = numbered(history.ledger.filter((event) => event !== item));
      expect(found({ ...history, ledger })).toEqual(new Set(['I2']));
    }),
  );
});

test('any capture that happens twice is noticed, wherever the second one stands', () => {
  fc.assert(
    fc.property(goodHistoryAndSeed, fc.nat(), ([history, seed], place) => {
      const { item } = pick(
        history.ledger.filter(({ type }) => type === 'capture'),
        seed,
      );
      const ledger = numbered(history.ledger.toSpliced(place % (history.ledger.length + 1), 0, item));
      expect(found({ ...history, ledger })).toEqual(new Set(['I1a', 'I1b', 'I2']));
    }),
  );
});

test('any confirm request that is sent twice is noticed', () => {
  fc.assert(
    fc.property(goodHistoryAndSeed, ([history, seed]) => {
      const { item } = pick(
        history.ledger.filter(({ type }) => type === 'request'),
        seed,
      );
      expect(found({ ...history, ledger: numbered([...history.ledger, item]) })).toEqual(new Set(['I0']));
    }),
  );
});

test('any answer that turns into a failure, a stranger or silence is noticed', () => {
  const bad = fc.constantFrom(500, 503, 202, 201, 302, 401, 404, 409, undefined);
  fc.assert(
    fc.property(goodHistoryAndSeed, bad, ([history, seed], status) => {
      const { index, item } = pick(history.answers, seed);
      const answers = history.answers.with(index, answer(item.orderId, item.requestId, { status }));
      expect(found({ ...history, answers })).toContain('I0');
    }),
  );
});

test('any bill, order or audit row that is missing is noticed', () => {
  fc.assert(
    fc.property(goodHistoryAndSeed, ([history, seed]) => {
      const { bills, orders, audit } = history.rows;
      const without = <Row>(rows: readonly Row[]) => rows.toSpliced(pick(rows, seed).index, 1);
      expect(found({ ...history, rows: { ...history.rows, bills: without(bills) } })).toContain('I2');
      expect(found({ ...history, rows: { ...history.rows, orders: without(orders) } })).toContain('I2');
      expect(found({ ...history, rows: { ...history.rows, audit: without(audit) } })).toContain('I13');
    }),
  );
});

test('any bill that is written twice is noticed', () => {
  fc.assert(
    fc.property(goodHistoryAndSeed, ([history, seed]) => {
      const { item } = pick(history.rows.bills, seed);
      const bills = [...history.rows.bills, { ...item, billId: 'second' }];
      expect(found({ ...history, rows: { ...history.rows, bills } })).toEqual(new Set(['I2']));
    }),
  );
});
