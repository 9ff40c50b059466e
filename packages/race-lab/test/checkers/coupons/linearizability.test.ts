import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Model, searchOrder, type TimedOperation } from '../../../src/checkers/linearizability.ts';

/** A stock with a register beside it, so that operations commute, conflict, read, and have unknown results. */
type Operation =
  | { what: 'take'; left: number | null }
  | { what: 'none-left' }
  | { what: 'put' }
  | { what: 'write'; value: number }
  | { what: 'read'; value: number };

interface State {
  left: number;
  value: number;
}

const STOCK = 3;

const model: Model<State, Operation> = {
  initial: { left: STOCK, value: 0 },
  step(state, operation) {
    switch (operation.what) {
      case 'take': {
        const left = state.left - 1;
        return left >= 0 && (operation.left ?? left) === left ? [{ ...state, left }] : [];
      }
      case 'none-left':
        return state.left === 0 ? [state] : [];
      // Perhaps one comes back, and perhaps it is broken.
      case 'put':
        return [state, { ...state, left: state.left + 1 }];
      case 'write':
        return [{ ...state, value: operation.value }];
      case 'read':
        return state.value === operation.value ? [state] : [];
    }
  },
  stateKey: ({ left, value }) => `${left} ${value}`,
  operationKey: (operation) => JSON.stringify(operation),
  readsOnly: ({ what }) => what === 'read' || what === 'none-left',
  isPast: () => false,
};

/** Without `put` the stock only falls. */
const falling: Model<State, Operation> = {
  ...model,
  isPast: ({ left }, operation) =>
    operation.what === 'take' && operation.left !== null && operation.left >= left,
};

/** Whether any order of any choice of what may have happened explains the history, tried one after the other. */
function bruteForce(
  history: readonly TimedOperation<Operation>[],
  states: readonly State[] = [model.initial],
): boolean {
  if (states.length === 0) return false;
  if (history.every(({ returnedAt }) => returnedAt === null)) return true;
  return history.some((next, index) => {
    const rest = history.toSpliced(index, 1);
    const mayBeFirst = rest.every(({ returnedAt }) => returnedAt === null || returnedAt >= next.calledAt);
    return (
      mayBeFirst &&
      bruteForce(
        rest,
        states.flatMap((state) => model.step(state, next.operation)),
      )
    );
  });
}

const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ what: fc.constant('take' as const), left: fc.constantFrom(0, 1, 2, 2, null) }),
  fc.constant({ what: 'none-left' } as const),
  fc.record({ what: fc.constant('write' as const), value: fc.constantFrom(0, 1) }),
  fc.record({ what: fc.constant('read' as const), value: fc.constantFrom(0, 1) }),
);

const put: fc.Arbitrary<Operation> = fc.constant({ what: 'put' });

const timed = (operation: fc.Arbitrary<Operation>) =>
  fc
    .record({
      operation,
      calledAt: fc.nat({ max: 12 }),
      lasts: fc.option(fc.nat({ max: 8 }), { nil: null, freq: 5 }),
    })
    .map(({ operation, calledAt, lasts }) => ({
      // Each its own, so that they can be told apart.
      operation: { ...operation },
      calledAt,
      returnedAt: lasts === null ? null : calledAt + lasts,
    }));

describe('compared with trying every order', () => {
  const agrees = (searched: Model<State, Operation>, operations: fc.Arbitrary<Operation>) => {
    const seen = new Map([true, false].map((possible) => [possible, 0]));
    fc.assert(
      fc.property(fc.array(timed(operations), { minLength: 2, maxLength: 7 }), (history) => {
        const possible = bruteForce(history);
        seen.set(possible, (seen.get(possible) ?? 0) + 1);
        const found = searchOrder(searched, history);
        expect(found.linearizable).toBe(possible);
        if (found.linearizable === false) expectPrefix(history, found);
      }),
      { numRuns: 3000 },
    );
    // Of both enough that a search which always says the same is found out.
    for (const count of seen.values()) expect(count).toBeGreaterThan(300);
  };
  const withPut = fc.oneof({ weight: 4, arbitrary: anyOperation }, { weight: 1, arbitrary: put });

  test('it finds an order exactly where there is one', () => agrees(model, withPut));
  test('also where the model tells what is past', () => agrees(falling, anyOperation));
});

/** What is told of a dead end is true: the prefix is an order, and what is stuck is not in it. */
function expectPrefix(
  history: readonly TimedOperation<Operation>[],
  { longest, state, stuck }: { longest: Operation[]; state: State; stuck: Operation },
): void {
  const after = longest.reduce(
    (states, operation) => states.flatMap((one) => model.step(one, operation)),
    [model.initial],
  );
  expect(after).toContainEqual(state);
  expect(longest).not.toContain(stuck);
  expect(history.map(({ operation }) => operation)).toEqual(expect.arrayContaining([...longest, stuck]));
}

const took = (left: number | null, calledAt: number, returnedAt: number | null) => ({
  operation: { what: 'take' as const, left },
  calledAt,
  returnedAt,
});
const noneLeft = (calledAt: number, returnedAt: number) => ({
  operation: { what: 'none-left' as const },
  calledAt,
  returnedAt,
});

describe('of a stock of 3', () => {
  test.each<{ name: string; history: TimedOperation<Operation>[]; order: boolean }>([
    { name: 'nothing happened', history: [], order: true },
    {
      name: 'one after the other',
      history: [took(2, 0, 1), took(1, 2, 3), took(0, 4, 5), noneLeft(6, 7)],
      order: true,
    },
    {
      name: 'together, told in any order',
      history: [noneLeft(0, 9), took(0, 0, 9), took(2, 0, 9), took(1, 0, 9)],
      order: true,
    },
    {
      name: 'none left, and then one more',
      history: [took(2, 0, 1), took(1, 2, 3), noneLeft(4, 5), took(0, 6, 7)],
      order: false,
    },
    {
      name: 'none left beside the last one',
      history: [took(2, 0, 1), took(1, 2, 3), noneLeft(4, 6), took(0, 6, 7)],
      order: true,
    },
    { name: 'the same left twice', history: [took(2, 0, 9), took(2, 0, 9)], order: false },
    { name: 'a number skipped', history: [took(2, 0, 9), took(0, 0, 9)], order: false },
    {
      name: 'one more after none was left',
      history: [took(2, 0, 9), took(1, 0, 9), took(0, 0, 9), took(null, 10, 11)],
      order: false,
    },
    { name: 'told against the time', history: [took(1, 0, 1), took(2, 2, 3)], order: false },
    {
      name: 'told against the time, at the same moment',
      history: [took(1, 0, 2), took(2, 2, 3)],
      order: true,
    },
    {
      name: 'an unknown one must have taken one',
      history: [took(2, 0, 1), took(null, 0, null), took(0, 8, 9)],
      order: true,
    },
    {
      name: 'nobody can have taken one',
      history: [took(2, 0, 1), took(0, 8, 9), took(null, 10, null)],
      order: false,
    },
    {
      name: 'an unknown one must not have taken one yet',
      history: [took(null, 0, null), took(2, 8, 9)],
      order: true,
    },
    {
      name: 'an unknown one must not have taken one ever',
      history: [took(null, 0, null), took(2, 1, 2), took(1, 3, 4), took(0, 5, 6)],
      order: true,
    },
    { name: 'only unknown ones', history: [took(7, 0, null), took(7, 0, null)], order: true },
    { name: 'an unknown one taken for two', history: [took(null, 0, null), took(0, 8, 9)], order: false },
    {
      name: 'a known one that says nothing must have taken one',
      history: [took(null, 0, 1), took(2, 2, 3)],
      order: false,
    },
  ])('$name: $order', ({ history, order }) => {
    expect(searchOrder(falling, history).linearizable).toBe(order);
    expect(searchOrder(model, history).linearizable).toBe(order);
    expect(bruteForce(history)).toBe(order);
  });

  test('what is called at the moment of a return is concurrent, also for those that could be exchanged', () => {
    // The only order is: the second, the third, the first.
    const history = [took(null, 0, 10), took(null, 0, 9), took(1, 10, 12)];
    expect(searchOrder(model, history).linearizable).toBe(true);
    expect(searchOrder(model, [took(null, 0, 9), took(null, 0, 9), took(1, 10, 12)]).linearizable).toBe(
      false,
    );
  });

  test('a dead end says how far it went, and on what it stuck', () => {
    const history = [took(2, 0, 1), took(1, 2, 3), noneLeft(4, 5), took(0, 6, 7)];
    expect(searchOrder(falling, history)).toEqual({
      linearizable: false,
      longest: [history[0]?.operation, history[1]?.operation],
      state: { left: 1, value: 0 },
      stuck: { what: 'none-left' },
    });
    expect(searchOrder(falling, [took(2, 0, 9), took(2, 0, 9)])).toMatchObject({
      longest: [{ left: 2 }],
      stuck: { left: 2 },
    });
    expect(searchOrder(falling, [took(3, 0, 9)])).toMatchObject({ longest: [], stuck: { left: 3 } });
  });

  test.each([
    [0, 1],
    [1, 0],
  ])('of several dead ends the farthest is told, in whichever order they are tried: %s, %s', (one, other) => {
    const did = (operation: Operation, calledAt: number) => ({ operation, calledAt, returnedAt: 9 });
    const history = [
      did({ what: 'write', value: one }, 0),
      did({ what: 'write', value: other }, 0),
      { operation: { what: 'read' as const, value: 1 }, calledAt: 10, returnedAt: 11 },
      { operation: { what: 'read' as const, value: 99 }, calledAt: 12, returnedAt: 13 },
    ];
    expect(searchOrder(model, history)).toMatchObject({
      longest: [{ value: 0 }, { value: 1 }, { what: 'read', value: 1 }],
      stuck: { what: 'read', value: 99 },
    });
  });

  test('what nobody knows the outcome of is never what is stuck', () => {
    const [unknown, second] = [took(2, 0, null), took(2, 0, 9)];
    const found = searchOrder(falling, [unknown, took(2, 0, 1), second]);
    expect(found.linearizable === false && found.stuck).toBe(second.operation);
  });

  test.each([
    [1, 0],
    [Number.NaN, 1],
    [0, Number.NaN],
  ])('a call at %s that returned at %s is an error', (calledAt, returnedAt) => {
    expect(() => searchOrder(model, [took(2, calledAt, returnedAt)])).toThrow(RangeError);
  });
});

/**
 * Sizes of real races, within a fifth of the steps after which the search gives up by itself. A rule that no longer works
 * makes it exceed them by far.
 */
describe('a large history', () => {
  const STEPS = 2_000_000;
  const stockOf = (left: number) => ({ ...falling, initial: { left, value: 0 } });
  /** Called together; they return in another order than that of their numbers. */
  const together = (operations: readonly Operation[]): TimedOperation<Operation>[] =>
    operations.map((operation, index) => ({
      operation,
      calledAt: index,
      returnedAt: operations.length + ((index * 7919) % 10_007),
    }));
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
  const take = (left: number | null): Operation => ({ what: 'take', left });
  const soldOut: Operation = { what: 'none-left' };

  test('a thousand at once, of whom a hundred get one', () => {
    const history = together([...numbers(100).map(take), ...numbers(900).map(() => soldOut)]);
    expect(searchOrder(stockOf(100), history, STEPS).linearizable).toBe(true);
    const oneMore = [...history, took(null, 20_000, 20_001)];
    expect(searchOrder(stockOf(100), oneMore, STEPS).linearizable).toBe(false);
  });

  test('a thousand at once who each get one', () => {
    const history = together(numbers(1000).map(take));
    expect(searchOrder(stockOf(1000), history, STEPS).linearizable).toBe(true);
    expect(searchOrder(stockOf(1001), history, STEPS).linearizable).toBe(false);
  });

  test('ten thousand who are refused, a few at a time', () => {
    const history = numbers(10_000).map((index) => noneLeft(index * 10, index * 10 + 300));
    expect(searchOrder(stockOf(0), history, STEPS).linearizable).toBe(true);
    expect(searchOrder(stockOf(1), history, STEPS).linearizable).toBe(false);
  });

  test('lost updates: each number is told to four', () => {
    const history = together(numbers(1000).map((index) => take(index >> 2)));
    expect(searchOrder(stockOf(250), history, STEPS).linearizable).toBe(false);
  });

  test('nine hundred unknown ones, of whom some must have taken the numbers between', () => {
    const unknown = numbers(900).map((index) => took(null, index, null));
    const known = (count: number) => together(numbers(count).map((index) => take(index * 2)));
    expect(searchOrder(stockOf(100), [...unknown, ...known(50)], STEPS).linearizable).toBe(true);
    expect(searchOrder(stockOf(1000), [...unknown, ...known(50)], STEPS).linearizable).toBe(false);
  });

  test('five hundred who were told nothing, among those who were', () => {
    const history = together(numbers(1000).map((index) => take(index % 2 === 0 ? index : null)));
    expect(searchOrder(stockOf(1000), history, STEPS).linearizable).toBe(true);
    expect(searchOrder(stockOf(999), [...history, noneLeft(30_000, 30_001)], STEPS).linearizable).toBe(false);
  });

  test('who was called last returns first, and others ask between the returns', () => {
    const history = numbers(200).flatMap((index) => [
      took(null, index, 1000 - 2 * index),
      { operation: { what: 'read' as const, value: 0 }, calledAt: 1001 - 2 * index, returnedAt: 2000 },
    ]);
    expect(searchOrder(stockOf(200), history, STEPS).linearizable).toBe(true);
    expect(searchOrder(stockOf(199), history, STEPS).linearizable).toBe(false);
  });

  test('a model that cannot tell what is past: nine hundred unknown ones that took nothing', () => {
    const unknown = numbers(900).map((index) => took(null, index, null));
    const history = [...unknown, ...together(numbers(100).map(take))];
    expect(searchOrder({ ...stockOf(100), isPast: () => false }, history, STEPS).linearizable).toBe(true);
  });

  test('a dozen writes of different values, and one that was never written', () => {
    const writes = numbers(12).map((value): Operation => ({ what: 'write', value }));
    const history = together([...writes, { what: 'read', value: 11 }, { what: 'read', value: 99 }]);
    expect(searchOrder(model, history.slice(0, -1), STEPS).linearizable).toBe(true);
    // 2^12 sets of writes, and the last of each; 12! orders.
    expect(searchOrder(model, history, STEPS).linearizable).toBe(false);
  });

  test('what takes too long is unknown, never passed over', () => {
    const history = together(numbers(100).map(take));
    expect(searchOrder(stockOf(100), history, 1000)).toEqual({
      linearizable: 'unknown',
      steps: expect.any(Number),
    });
  });
});
