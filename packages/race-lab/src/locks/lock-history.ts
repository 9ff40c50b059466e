import type { LockWait } from './lock-wait.ts';

/** One statement's waiting, as several samples saw it. */
export interface SeenWait {
  /** As it was when it was first seen, or later with the holder idle in its transaction: that is what takes long. */
  readonly wait: LockWait;
  /** At least so long: it may have gone on until the sample in which it was missing. */
  readonly lastedMs: number;
}

/** The waits of a while, put together from samples. */
export interface LockHistory {
  /**
   * Adds everything that waited at `atMs` of a monotonic clock, and says what is new.
   *
   * A statement that waits is one wait, however many samples see it and whoever holds the lock meanwhile: a queue
   * moves up, and in PostgreSQL its head waits for another kind of lock than the rest. The next statement of the same
   * session is another wait, also when it reads the same: it has begun since the sample before.
   */
  add(waits: readonly LockWait[], atMs: number): { begun: SeenWait[]; ended: SeenWait[] };
  readonly samples: number;
  /** Most sessions that waited at once. */
  readonly mostAtOnce: number;
  /** Every wait that was seen, the longest first. */
  all(): SeenWait[];
}

/** How far the start of a statement may seem to move between two samples: two clocks and a round trip, in ms. */
const TOLERANCE_MS = 5;

export function lockHistory(): LockHistory {
  const seen: SeenWait[] = [];
  let current = new Map<string, { wait: LockWait; lastedMs: number; sinceMs: number }>();
  let samples = 0;
  let mostAtOnce = 0;
  let lastAtMs = Number.NEGATIVE_INFINITY;

  return {
    get samples() {
      return samples;
    },
    get mostAtOnce() {
      return mostAtOnce;
    },
    all: () => seen.toSorted((a, b) => b.lastedMs - a.lastedMs),
    add(waits, atMs) {
      const begun: SeenWait[] = [];
      const waiting: typeof current = new Map();
      for (const wait of waits) {
        const { session, statementMs } = wait.waiter;
        if (waiting.has(session)) continue;
        const known = current.get(session);
        const goesOn = known !== undefined && atMs - duration(statementMs) <= lastAtMs + TOLERANCE_MS;
        const one = goesOn ? known : { wait, lastedMs: 0, sinceMs: atMs - duration(wait.waitedMs) };
        if (wait.holders.some(({ idleInTransaction }) => idleInTransaction)) one.wait = wait;
        one.lastedMs = Math.max(one.lastedMs, atMs - one.sinceMs);
        if (!goesOn) begun.push(one);
        waiting.set(session, one);
      }
      const ended = [...current]
        .filter(([session, one]) => waiting.get(session) !== one)
        .map(([, one]) => one);
      seen.push(...begun);
      current = waiting;
      samples++;
      mostAtOnce = Math.max(mostAtOnce, waiting.size);
      lastAtMs = atMs;
      return { begun, ended };
    },
  };
}

/** A database that cannot tell how long gives none, and a clock that was set back a negative one. */
function duration(ms: number): number {
  return Number.isFinite(ms) ? Math.max(ms, 0) : 0;
}
