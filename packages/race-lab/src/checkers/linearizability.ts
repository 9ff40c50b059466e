import { type History, historyOf, type Placeable, type TimedOperation } from './linearizability-history.ts';

export type { TimedOperation };

/** What an object may do, one operation after the other. */
export interface Model<State, Operation> {
  initial: State;
  /** The states that the operation may leave; none when it cannot have happened in this one as it was told. */
  step(state: State, operation: Operation): readonly State[];
  /** States with equal keys are one. */
  stateKey(state: State): string;
  /** Operations with equal keys asked for the same and were told the same. */
  operationKey(operation: Operation): string;
  /** Whether the operation leaves every state as it is. */
  readsOnly(operation: Operation): boolean;
  /** Whether the operation can happen neither in this state nor in any that may follow it. Where it is not known: false. */
  isPast(state: State, operation: Operation): boolean;
}

export type Linearizability<State, Operation> =
  | { linearizable: true }
  | ({ linearizable: false } & DeadEnd<State, Operation>)
  /** The search was given up after so many steps. */
  | { linearizable: 'unknown'; steps: number };

/** As far as an order was found. */
interface DeadEnd<State, Operation> {
  /** The most operations that have an order, in that order. */
  longest: Operation[];
  /** The state after them. */
  state: State;
  /** What cannot be placed then: it must come before all that remain, or cannot happen any more. */
  stuck: Operation;
}

/** Some six times what a thousand simultaneous operations take of which each tells its place; a second or two. */
const MOST_STEPS = 10_000_000;

/**
 * Searches an order of the operations in which the object, doing one after the other, answers each as its client was told,
 * and in which what had returned before another was called comes before it.
 *
 * Depth first, over a list of calls and returns from which operations are lifted and put back, with a cache of the pairs of
 * placed operations and state that were seen before. Four rules keep it short; none of them loses an order:
 * - An operation that only reads is placed as soon as it can be: from any later place it could be moved there.
 * - Of two of one kind the one that was called and has returned no later than the other comes first: they could be exchanged.
 * - A state is given up as soon as an operation is past in it that must be placed.
 * - What nobody knows the outcome of is tried last.
 *
 * @param mostSteps  Operations looked at, and words of the cache; after so many of them the answer is `unknown`.
 * @throws RangeError  An operation returned before it was called, or a time is no number.
 * @see Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for Linearizability" (2017), for the
 *   cache; Athalye's Porcupine (2017), for the list of calls and returns.
 */
export function searchOrder<State, Operation>(
  model: Model<State, Operation>,
  operations: readonly TimedOperation<Operation>[],
  mostSteps = MOST_STEPS,
): Linearizability<State, Operation> {
  const history = historyOf(operations, model.operationKey);
  const first = history.firstToReturn();
  // Of what nobody knows the outcome of, nothing need have happened.
  if (first === undefined) return { linearizable: true };
  return new Search(model, history, first.operation).run(mostSteps);
}

interface Choice<State, Operation> {
  /** What may be placed next; absent at the beginning. */
  placed: Placeable<Operation> | undefined;
  /** A state that it may leave. */
  state: State;
}

/** A state that the search has come to. */
interface Visit<State, Operation> {
  /** How many operations were placed before it was gone to. */
  before: number;
  /** Where it can be gone on to, the likeliest last. */
  choices: Choice<State, Operation>[];
}

class Search<State, Operation> {
  readonly #model: Model<State, Operation>;
  readonly #history: History<Operation>;
  /** What is placed: in its order, and as a set of bits. */
  readonly #order: Placeable<Operation>[] = [];
  readonly #placed: Uint8Array;
  /** How many must still be placed: of each kind, with one of them as an example, and in all. */
  readonly #kinds = new Map<number, { example: Operation; owed: number }>();
  #owed = 0;
  readonly #seen = new Set<string>();
  #furthest: DeadEnd<State, Operation>;
  #furthestPlaced = -1;
  #steps = 0;

  constructor(model: Model<State, Operation>, history: History<Operation>, first: Operation) {
    this.#model = model;
    this.#history = history;
    this.#placed = new Uint8Array(Math.ceil(history.operations.length / 8));
    this.#furthest = { longest: [], state: model.initial, stuck: first };
    for (const operation of history.operations) this.#count(operation, 1);
  }

  run(mostSteps: number): Linearizability<State, Operation> {
    const visits: Visit<State, Operation>[] = [];
    let choice: Choice<State, Operation> | undefined = { placed: undefined, state: this.#model.initial };
    while (choice !== undefined) {
      const before = this.#order.length;
      if (choice.placed !== undefined) this.#place(choice.placed);
      visits.push({ before, choices: this.#arrive(choice.state) });
      if (this.#owed === 0) return { linearizable: true };
      if (this.#steps > mostSteps) return { linearizable: 'unknown', steps: this.#steps };
      choice = this.#nextChoice(visits);
    }
    return { linearizable: false, ...this.#furthest };
  }

  /** Goes back to where a choice is left. */
  #nextChoice(visits: Visit<State, Operation>[]): Choice<State, Operation> | undefined {
    for (let visit = visits.at(-1); visit !== undefined; visit = visits.at(-1)) {
      const choice = visit.choices.pop();
      if (choice !== undefined) return choice;
      this.#takeBack(visit.before);
      visits.pop();
    }
    return undefined;
  }

  /** Places what can be placed without a choice, and tells the choices; none where the search need not go on. */
  #arrive(state: State): Choice<State, Operation>[] {
    const past = this.#pastIn(state);
    if (past !== undefined) return this.#deadEnd(state, past);
    for (const operation of this.#history.open()) {
      this.#steps += 1;
      const reads = this.#model.readsOnly(operation.operation);
      if (reads && this.#model.step(state, operation.operation).length > 0) this.#place(operation);
    }
    if (this.#owed === 0 || this.#wasHere(state)) return [];
    const choices = this.#choicesIn(state);
    return choices.length === 0 ? this.#deadEnd(state, this.#history.firstToReturn()) : choices;
  }

  #choicesIn(state: State): Choice<State, Operation>[] {
    const definite: Choice<State, Operation>[] = [];
    const unknown: Choice<State, Operation>[] = [];
    /** Of each kind, the earliest return of those that were called earlier. */
    const earliestReturn = new Map<number, number>();
    for (const placed of this.#history.open()) {
      this.#steps += 1;
      const { kind, callsBeforeReturn, operation } = placed;
      if (callsBeforeReturn >= (earliestReturn.get(kind) ?? Number.POSITIVE_INFINITY)) continue;
      earliestReturn.set(kind, callsBeforeReturn);
      const choices = placed.definite ? definite : unknown;
      for (const next of this.#model.step(state, operation)) choices.push({ placed, state: next });
    }
    return [...definite, ...unknown].reverse();
  }

  /** An operation that must still be placed, and can be neither in this state nor later. */
  #pastIn(state: State): Placeable<Operation> | undefined {
    for (const [kind, { example, owed }] of this.#kinds.entries()) {
      if (owed === 0) continue;
      this.#steps += 1;
      if (!this.#model.isPast(state, example)) continue;
      return this.#history.operations.find(
        (operation) => operation.kind === kind && operation.definite && !this.#isPlaced(operation),
      );
    }
    return undefined;
  }

  #wasHere(state: State): boolean {
    this.#steps += this.#placed.length / 4;
    const here = `${Buffer.from(this.#placed).toString('latin1')} ${this.#model.stateKey(state)}`;
    if (this.#seen.has(here)) return true;
    this.#seen.add(here);
    return false;
  }

  #deadEnd(state: State, stuck: Placeable<Operation> | undefined): [] {
    if (stuck !== undefined && this.#order.length > this.#furthestPlaced) {
      const longest = this.#order.map(({ operation }) => operation);
      this.#furthest = { longest, state, stuck: stuck.operation };
      this.#furthestPlaced = longest.length;
    }
    return [];
  }

  #place(operation: Placeable<Operation>): void {
    this.#history.lift(operation);
    this.#order.push(operation);
    this.#flip(operation);
    this.#count(operation, -1);
  }

  /** Takes back what was placed last, until so many are left. */
  #takeBack(left: number): void {
    for (const operation of this.#order.splice(left).reverse()) {
      this.#history.putBack(operation);
      this.#flip(operation);
      this.#count(operation, 1);
    }
  }

  #count({ definite, kind, operation }: Placeable<Operation>, change: 1 | -1): void {
    if (!definite) return;
    this.#owed += change;
    const counted = this.#kinds.get(kind);
    if (counted === undefined) this.#kinds.set(kind, { example: operation, owed: change });
    else counted.owed += change;
  }

  #isPlaced({ index }: Placeable<Operation>): boolean {
    return ((this.#placed[index >>> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  #flip({ index }: Placeable<Operation>): void {
    this.#placed[index >>> 3] = (this.#placed[index >>> 3] ?? 0) ^ (1 << (index & 7));
  }
}
