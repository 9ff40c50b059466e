import type { Attributes, Meter } from '@opentelemetry/api';
import { StoreError } from 'pawl';
import { crowdedOut } from '../http/failures.ts';
import { ConcurrencyFailure } from '../store/unit-of-work.ts';

/** What came of a purchase or of an issue, as it is counted and logged: nothing that only one of them has. */
export interface Came {
  /** `unknown`: it may have taken effect. `failed`: nobody was answered what came of it. */
  readonly outcome: 'done' | 'refused' | 'unknown' | 'failed';
  /** Why not: of a closed set. */
  readonly reason?: string;
  readonly replayed?: boolean;
  /** The payment provider's word, or its client's. */
  readonly code?: string;
}

export interface Operations {
  /**
   * Runs `work`, and writes one line about it and counts it, whatever comes of it.
   *
   * What comes of `work` is what the caller gets, even where it cannot be told: an order that is paid is not answered with 500
   * because of a line about it.
   *
   * @param about  What the line says besides: it is not counted, so ids belong here.
   */
  run<Outcome>(
    operation: { readonly strategy: string; readonly about: Readonly<Record<string, string | number>> },
    work: () => Promise<Outcome>,
    came: (outcome: Outcome) => Came,
  ): Promise<Outcome>;
}

/** In milliseconds. */
const BOUNDARIES = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

export interface OperationLog {
  /** The line: what the operation is called, and what there is to say, which is asked for where it is written. */
  write(details: () => Readonly<Record<string, unknown>>, name: string): void;
  /** Told of an operation whose outcome could not be told. Must not throw. */
  untold(details: Readonly<Record<string, unknown>>, name: string): void;
}

/** How many came to the same. */
interface Tally {
  readonly counted: Attributes;
  readonly timed: Attributes;
  count: number;
}

export function operations(name: 'purchase' | 'coupon.issue', meter: Meter, log: OperationLog): Operations {
  const counter = meter.createObservableCounter(`shop.${name}s`, {
    description: 'What came of them, by strategy.',
    unit: '{operation}',
  });
  // Counted here, and told when they are asked for: an addition to a counter looks for its attributes each time.
  const tallies = new Map<string, Tally>();
  counter.addCallback((result) => {
    for (const { counted, count } of tallies.values()) result.observe(count, counted);
  });
  const tallyOf = (strategy: string, { outcome, reason, replayed }: Came) => {
    const key = `${strategy} ${outcome} ${reason} ${replayed}`;
    let tally = tallies.get(key);
    if (tally === undefined) {
      const counted: Attributes = { strategy, outcome };
      if (reason !== undefined) counted.reason = reason;
      if (replayed !== undefined) counted.replayed = replayed;
      tally = { counted, timed: { strategy, outcome }, count: 0 };
      tallies.set(key, tally);
    }
    return tally;
  };
  const duration = meter.createHistogram(`shop.${name}.duration`, {
    description: 'From the request to what came of it.',
    unit: 'ms',
    advice: { explicitBucketBoundaries: BOUNDARIES },
  });

  return {
    async run({ strategy, about }, work, came) {
      const beganMs = performance.now();
      const tell = (what: Came, tookMs: number) => {
        const tally = tallyOf(strategy, what);
        tally.count++;
        duration.record(tookMs, tally.timed);
        const { outcome, reason, replayed, code } = what;
        const durationMs = Math.round(tookMs * 10) / 10;
        log.write(() => ({ ...about, strategy, outcome, reason, code, replayed, durationMs }), name);
      };
      const tryToTell = (whatCame: () => Came) => {
        const tookMs = performance.now() - beganMs;
        try {
          tell(whatCame(), tookMs);
        } catch (err) {
          log.untold({ ...about, strategy, err }, name);
        }
      };
      let outcome: Awaited<ReturnType<typeof work>>;
      try {
        outcome = await work();
      } catch (error) {
        tryToTell(() => cameOfFailure(error));
        throw error;
      }
      tryToTell(() => came(outcome));
      return outcome;
    },
  };
}

/** As the request is answered: who was crowded out is refused. */
function cameOfFailure(error: unknown): Came {
  const crowded = crowdedOut(error);
  if (crowded !== undefined) return { outcome: 'refused', reason: crowded };
  const isKnown = error instanceof StoreError || error instanceof ConcurrencyFailure;
  return { outcome: 'failed', reason: isKnown ? error.code : 'UNEXPECTED' };
}
