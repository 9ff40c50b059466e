import { InvalidKeyError, LeaseLostError, MisuseError, StoreError } from './errors.ts';
import type {
  Ending,
  FailureCode,
  GuardName,
  GuardStep,
  Observation,
  ObservedBatch,
  ObservedClaim,
  ObservedEvent,
  Observer,
  Operation,
  StoreKind,
} from './observer.ts';
import type { RefusalReason } from './outcome.ts';
import { quiet } from './quiet.ts';

interface Registered {
  readonly observer: Observer;
}

/** Of the whole process: a guard is a function, and has no place of its own to keep them. */
let observers: readonly Registered[] = [];

/**
 * Tells `observer` of every operation of every guard of this process that begins from now on. Where there are several, each is told, in
 * the order of their coming. While there is none, a guard costs one comparison more.
 *
 * @returns takes it away again; what it has seen begin, it is told of to its end.
 */
export function observe(observer: Observer): () => void {
  const registered = { observer };
  observers = [...observers, registered];
  return () => {
    observers = observers.filter((one) => one !== registered);
  };
}

/** Whether anybody watches. */
export function isObserved(): boolean {
  return observers.length > 0;
}

/** An operation as its guard knows it, once for all its uses. */
export interface ObservedOperation<Result = unknown> {
  readonly guard: GuardName;
  readonly step?: GuardStep;
  /** How its result is read where it is no outcome of `outcome.ts`. */
  readonly endingOf?: (result: Result) => Ending;
}

/**
 * Runs `work`, which is one operation of a guard, upon `a` and `b`, and tells those who watch. By the last argument `work` tells them what
 * happens within it; it is undefined when nobody watches, and then nothing is made for their sake.
 */
export function observed<A, B, Result>(
  operation: ObservedOperation<Result>,
  store: StoreKind | undefined,
  work: (a: A, b: B, seen: Seen | undefined) => Promise<Result>,
  a: A,
  b: B,
): Promise<Result> {
  if (observers.length === 0) return work(a, b, undefined);
  return watched(operation, store, (seen) => work(a, b, seen));
}

async function watched<Result>(
  observed: ObservedOperation<Result>,
  store: StoreKind | undefined,
  work: (seen: Seen) => Promise<Result>,
): Promise<Result> {
  const { endingOf = endingOfOutcome } = observed;
  const observations = begun(operationOf(observed, store));
  const seen = new Seen(observations);
  try {
    const isAround = observations.some(({ around }) => around !== undefined);
    const result = await (isAround ? runWithin(observations, () => work(seen)) : work(seen));
    quiet(() => seen.ended(endingOf(result)))(undefined);
    return result;
  } catch (error) {
    seen.ended(endingOfError(error));
    throw error;
  }
}

/** What is told of each operation at its begin, for as long as its guard is there. */
const operations = new WeakMap<ObservedOperation<never>, Map<StoreKind | undefined, Operation>>();

/** The same object each time, so that whoever watches may keep by it what he makes of it. */
function operationOf<Result>(observed: ObservedOperation<Result>, store: StoreKind | undefined): Operation {
  const known = operations.get(observed)?.get(store);
  if (known !== undefined) return known;
  const { guard, step } = observed;
  const operation = Object.freeze({ guard, ...(step && { step }), ...(store && { store }) });
  const stores = operations.get(observed) ?? new Map<StoreKind | undefined, Operation>();
  operations.set(observed, stores.set(store, operation));
  return operation;
}

/** Whoever throws instead of observing does not observe. */
function begun(operation: Operation): readonly Observation[] {
  const observations: Observation[] = [];
  for (const { observer } of observers) {
    try {
      const observation = observer.began(operation);
      // What callers without types would give.
      if (observation !== undefined && observation !== null) observations.push(observation);
    } catch {
      // There is nobody to tell.
    }
  }
  return observations;
}

/** The first one's `around` is the outermost. None of them keeps `work` from being run, nor runs it again. */
function runWithin<Result>(
  observations: readonly Observation[],
  work: () => Promise<Result>,
): Promise<Result> {
  let running: Promise<Result> | undefined;
  const run = () => {
    running ??= work();
    return running;
  };
  let enter: () => void = run;
  for (const observation of observations.toReversed()) {
    if (observation.around === undefined) continue;
    const within = enter;
    let entered = false;
    const once = () => {
      if (!entered) {
        entered = true;
        within();
      }
    };
    enter = () => {
      quiet(() => observation.around?.(once))(undefined);
      once();
    };
  }
  enter();
  return run();
}

/** Those who watch one operation. */
export class Seen {
  readonly #observations: readonly Observation[];

  constructor(observations: readonly Observation[]) {
    this.#observations = observations;
  }

  claimed(claim: ObservedClaim): void {
    this.#tell((observation) => observation.claimed?.(claim));
  }

  tried(attempt: number): void {
    this.#tell((observation) => observation.tried?.(attempt));
  }

  happened(event: ObservedEvent): void {
    this.#tell((observation) => observation.happened?.(event));
  }

  ended(ending: Ending): void {
    this.#tell((observation) => observation.ended(ending));
  }

  #tell(one: (observation: Observation) => unknown): void {
    for (const observation of this.#observations) quiet(one)(observation);
  }
}

/** Tells what the outcome of an operation does not say. @param seen  Those who watch that operation; absent: everybody. */
export function happened(
  guard: GuardName,
  { kind, cause }: { readonly kind: ObservedEvent['kind']; readonly cause?: unknown },
  seen?: Seen,
): void {
  if (seen === undefined && observers.length === 0) return;
  const event = { guard, kind, ...(cause === undefined ? {} : { code: codeOf(cause) }) };
  if (seen !== undefined) seen.happened(event);
  else for (const { observer } of observers) quiet(() => observer.happened?.(event))(undefined);
}

/** Tells everybody of a transaction that several callers share. */
export function batched(
  store: StoreKind,
  batch: Omit<ObservedBatch, 'store' | 'waitedMs'> & { readonly waitedMs: () => number },
): void {
  if (observers.length === 0) return;
  const seen = { ...batch, store, waitedMs: batch.waitedMs() };
  for (const { observer } of observers) quiet(() => observer.batched?.(seen))(undefined);
}

/** All of them, so that the compiler misses one that is new. Work that is not type-checked may give others, with anything in them. */
const REASONS: Readonly<Record<RefusalReason, true>> = {
  'in-progress': true,
  'already-done': true,
  'wrong-state': true,
  'payload-mismatch': true,
  declined: true,
  'sold-out': true,
  'already-issued': true,
  'not-eligible': true,
  'not-open': true,
  'quota-reached': true,
  'lock-timeout': true,
  contended: true,
  fenced: true,
  overloaded: true,
};

function isReason(value: unknown): value is RefusalReason {
  return typeof value === 'string' && Object.hasOwn(REASONS, value);
}

/** What a lock's work resolves with may be anything: it is done then. */
function endingOfOutcome(result: unknown): Ending {
  const { outcome, reason, replayed } = (result ?? {}) as Partial<Record<string, unknown>>;
  if (outcome === 'refused') return { outcome, reason: isReason(reason) ? reason : undefined };
  if (outcome === 'unknown') return { outcome };
  return { outcome: 'done', replayed: replayed === true };
}

function endingOfError(error: unknown): Ending {
  const effect = error instanceof StoreError ? error.effect : undefined;
  return { outcome: 'failed', code: codeOf(error), effect };
}

function codeOf(error: unknown): FailureCode {
  const isOurs =
    error instanceof StoreError ||
    error instanceof MisuseError ||
    error instanceof InvalidKeyError ||
    error instanceof LeaseLostError;
  return isOurs ? error.code : 'OTHER';
}
