/** An operation as its client saw it; times are of one clock, whatever its unit. */
export interface TimedOperation<Operation> {
  operation: Operation;
  calledAt: number;
  /**
   * Null: nobody knows what became of it. It may take effect at any later time, or never, and stays concurrent with
   * everything after its call.
   */
  returnedAt: number | null;
}

/** An operation that is to be placed in an order. */
export interface Placeable<Operation> {
  readonly operation: Operation;
  /** Its number in the history. */
  readonly index: number;
  /** The number of its kind: operations of one kind asked for the same and were told the same. */
  readonly kind: number;
  /** Whether it is known to have returned, and so must be placed. */
  readonly definite: boolean;
  /**
   * How many returns come before its call, and how many calls before its return: which is all that its times say. Where it
   * never returned there are more than there are calls.
   */
  readonly returnsBeforeCall: number;
  readonly callsBeforeReturn: number;
}

/**
 * The calls and returns of the operations that are not placed yet, as a linked list in the order of time. What is called at
 * the moment at which another returns is concurrent with it. Of calls with no return between them, which nothing but their
 * own returns tells apart, those come first that return first.
 */
export interface History<Operation> {
  readonly operations: readonly Placeable<Operation>[];
  /** What may be placed next: all that was called before the first return. What it has just told may be lifted. */
  open(): Iterable<Placeable<Operation>>;
  /** What must be placed before anything that was called after it had returned; absent when nothing definite is left. */
  firstToReturn(): Placeable<Operation> | undefined;
  /** Takes an operation out. */
  lift(operation: Placeable<Operation>): void;
  /** Puts it back. What was taken out last comes back first. */
  putBack(operation: Placeable<Operation>): void;
}

/** A call or a return in the list; without an operation, its end. */
interface Entry<Operation> {
  readonly of: Placeable<Operation> | undefined;
  readonly isCall: boolean;
  before: Entry<Operation>;
  after: Entry<Operation>;
}

/** @throws RangeError  An operation returned before it was called, or a time is no number. */
export function historyOf<Operation>(
  timed: readonly TimedOperation<Operation>[],
  keyOf: (operation: Operation) => string,
): History<Operation> {
  const operations = placeable(timed, keyOf);
  const end = endOfList<Operation>();
  const calls = new Map<Placeable<Operation>, Entry<Operation>>();
  const returns = new Map<Placeable<Operation>, Entry<Operation>>();
  for (const { of, isCall } of inOrder(timed, operations)) {
    const entry = { of, isCall, before: end.before, after: end };
    link(entry);
    (isCall ? calls : returns).set(of, entry);
  }

  return {
    operations,
    *open() {
      for (let entry = end.after; entry.isCall && entry.of !== undefined; entry = entry.after) yield entry.of;
    },
    firstToReturn() {
      let entry = end.after;
      while (entry.isCall) entry = entry.after;
      return entry.of;
    },
    lift(operation) {
      // In this order the call still knows what comes after it, though that was its own return.
      unlink(returns.get(operation));
      unlink(calls.get(operation));
    },
    putBack(operation) {
      link(calls.get(operation));
      link(returns.get(operation));
    },
  };
}

function placeable<Operation>(
  timed: readonly TimedOperation<Operation>[],
  keyOf: (operation: Operation) => string,
): Placeable<Operation>[] {
  const callTimes = timed.map(({ calledAt }) => calledAt).sort((a, b) => a - b);
  const returnTimes = timed.flatMap(({ returnedAt }) => returnedAt ?? []).sort((a, b) => a - b);
  const kinds = new Map<string, number>();
  return timed.map(({ operation, calledAt, returnedAt }, index) => {
    if (!(calledAt <= (returnedAt ?? Number.POSITIVE_INFINITY))) {
      throw new RangeError(`an operation cannot be called at ${calledAt} and return at ${returnedAt}`);
    }
    const key = keyOf(operation);
    const kind = kinds.get(key) ?? kinds.size;
    kinds.set(key, kind);
    return {
      operation,
      index,
      kind,
      definite: returnedAt !== null,
      returnsBeforeCall: countWhile(returnTimes, (at) => at < calledAt),
      callsBeforeReturn:
        returnedAt === null ? timed.length + 1 : countWhile(callTimes, (at) => at <= returnedAt),
    };
  });
}

/** How many values at the beginning fulfil the condition; none behind the first that does not. By bisection. */
function countWhile(sorted: readonly number[], condition: (value: number) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (condition(sorted[middle] ?? Number.NaN)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** All calls and returns in the order of the list. */
function inOrder<Operation>(
  timed: readonly TimedOperation<Operation>[],
  operations: readonly Placeable<Operation>[],
): { of: Placeable<Operation>; isCall: boolean }[] {
  const returnedAt = ({ index }: Placeable<Operation>) => timed[index]?.returnedAt ?? Number.NaN;
  const returns = operations
    .filter(({ definite }) => definite)
    .sort((a, b) => returnedAt(a) - returnedAt(b))
    .map((of, returnsBefore) => ({ of, isCall: false, returnsBefore }));
  const calls = operations.map((of) => ({ of, isCall: true, returnsBefore: of.returnsBeforeCall }));
  return [...calls, ...returns].sort(
    (a, b) =>
      a.returnsBefore - b.returnsBefore ||
      Number(b.isCall) - Number(a.isCall) ||
      a.of.callsBeforeReturn - b.of.callsBeforeReturn,
  );
}

function endOfList<Operation>(): Entry<Operation> {
  const end: Partial<Entry<Operation>> & { isCall: boolean } = { isCall: false };
  return Object.assign(end, { of: undefined, before: end, after: end }) as Entry<Operation>;
}

function link<Operation>(entry: Entry<Operation> | undefined): void {
  if (entry === undefined) return;
  entry.before.after = entry;
  entry.after.before = entry;
}

/** The entry keeps its neighbours, so that `link` finds its place again. */
function unlink<Operation>(entry: Entry<Operation> | undefined): void {
  if (entry === undefined) return;
  entry.before.after = entry.after;
  entry.after.before = entry.before;
}
