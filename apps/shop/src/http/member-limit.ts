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

/** A request that counts. */
interface Counted {
  readonly memberId: number;
  /** When its window is over. */
  readonly endMs: number;
  isWithinWindow: boolean;
  isUnderWay: boolean;
  /** The one that was begun after it. */
  next: Counted | undefined;
}

/**
 * `most` requests of a member are under way or were begun within the last `windowMs`: one member's thousand connections must
 * not take everybody else's turn at the database and the processor. It guards nothing but that: each instance counts for
 * itself.
 */
export function memberLimit({ most, windowMs }: MemberLimitOptions): MemberLimit {
  const counted = new Map<number, number>();
  /** Those within their window, in the order of its end: all windows are as long. */
  let oldest: Counted | undefined;
  let newest: Counted | undefined;
  let forgetting: NodeJS.Timeout | undefined;
  const paused = new Set<() => void>();
  let closed = false;
  const countOf = (memberId: number) => counted.get(memberId) ?? 0;

  function count(memberId: number): Counted {
    counted.set(memberId, countOf(memberId) + 1);
    const endMs = performance.now() + windowMs;
    const one: Counted = { memberId, endMs, isWithinWindow: true, isUnderWay: true, next: undefined };
    if (newest === undefined) oldest = one;
    else newest.next = one;
    newest = one;
    // Whoever asks looks at the clock himself, so one timer is enough for all: it is there for those who do not ask again.
    forgetting ??= setTimeout(forget, windowMs).unref();
    return one;
  }

  function discount({ memberId }: Counted): void {
    const rest = countOf(memberId) - 1;
    if (rest === 0) counted.delete(memberId);
    else counted.set(memberId, rest);
  }

  /** Goes past those whose window is over. Those that are under way count on. */
  function look(): void {
    const nowMs = performance.now();
    while (oldest !== undefined && oldest.endMs <= nowMs) {
      const one = oldest;
      oldest = one.next;
      // Or one that is under way for ever would keep all that came after it in memory.
      one.next = undefined;
      one.isWithinWindow = false;
      if (!one.isUnderWay) discount(one);
    }
    if (oldest === undefined) newest = undefined;
  }

  function forget(): void {
    look();
    forgetting = oldest && setTimeout(forget, windowMs).unref();
  }

  function isReached(memberId: number): boolean {
    look();
    return countOf(memberId) >= most;
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
    isReached,
    async run(memberId, work) {
      if (isReached(memberId)) return undefined;
      const one = count(memberId);
      try {
        return await work();
      } finally {
        one.isUnderWay = false;
        if (!one.isWithinWindow) discount(one);
      }
    },
    async refuse() {
      if (paused.size < MOST_PAUSED && !closed) await pause();
      throw new TooManyRequestsError(Math.max(1, Math.ceil(windowMs / 1_000)));
    },
    close() {
      closed = true;
      clearTimeout(forgetting);
      for (const end of paused) end();
    },
  };
}
