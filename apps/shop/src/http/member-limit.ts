/** A member has asked for too much. Nothing was done for this request. */
export class TooManyRequestsError extends Error {
  override readonly name = 'TooManyRequestsError';
  readonly code = 'TOO_MANY_REQUESTS';
  /** When the next may be begun, at the latest. */
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super();
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** How many requests of one member are worked on, by this instance. */
export interface MemberLimit {
  /** Whether the member has to wait before the next. */
  isReached(memberId: number): boolean;
  /** Runs `work`, unless the limit is reached: then it does not run, and the answer is undefined. */
  run<T>(memberId: number, work: () => Promise<T>): Promise<T | undefined>;
  /**
   * Refuses, after a pause from 0.5 to 1.5 s: whoever is refused at once asks again at once, and whoever is refused
   * together with a thousand others comes back together with them. Where thousands are paused already, at once.
   *
   * @throws TooManyRequestsError  always
   */
  refuse(): Promise<never>;
  /** Ends all pauses, and makes no more. */
  close(): void;
}

export interface MemberLimitOptions {
  /** At least 1. */
  readonly most: number;
  /** How long each counts at least, from its begin, in milliseconds. */
  readonly windowMs: number;
}

const SHORTEST_PAUSE_MS = 500;
const PAUSE_SPREAD_MS = 1_000;
/** A paused request costs some kilobytes. */
const MOST_PAUSED = 5_000;

/**
 * `most` requests of a member are under way or were begun within the last `windowMs`: one member's thousand connections must
 * not take everybody else's turn at the database and the processor. It guards nothing but that: each instance counts for
 * itself.
 */
export function memberLimit({ most, windowMs }: MemberLimitOptions): MemberLimit {
  const counted = new Map<number, number>();
  const paused = new Set<() => void>();
  let closed = false;
  const countOf = (memberId: number) => counted.get(memberId) ?? 0;

  function discount(memberId: number): void {
    const rest = countOf(memberId) - 1;
    if (rest === 0) counted.delete(memberId);
    else counted.set(memberId, rest);
  }

  function pause(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        paused.delete(end);
        resolve();
      };
      const timer = setTimeout(end, SHORTEST_PAUSE_MS + Math.random() * PAUSE_SPREAD_MS);
      paused.add(end);
    });
  }

  return {
    isReached: (memberId) => countOf(memberId) >= most,
    async run(memberId, work) {
      if (countOf(memberId) >= most) return undefined;
      counted.set(memberId, countOf(memberId) + 1);
      const endMs = performance.now() + windowMs;
      try {
        return await work();
      } finally {
        const leftMs = endMs - performance.now();
        if (leftMs <= 0) discount(memberId);
        else setTimeout(discount, leftMs, memberId).unref();
      }
    },
    async refuse() {
      if (paused.size < MOST_PAUSED && !closed) await pause();
      throw new TooManyRequestsError(Math.max(1, Math.ceil(windowMs / 1_000)));
    },
    close() {
      closed = true;
      for (const end of paused) end();
    },
  };
}
