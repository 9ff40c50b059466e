/** What a strategy does, in the order in which it may be seen; no strategy does all of it. */
export const steps = [
  'locked',
  'registered',
  'read',
  'claimed',
  'charged',
  'wrote',
  'committed',
  'unlocked',
] as const;

export type Step = (typeof steps)[number];

/** Told what a strategy does, so that a race can be shown step by step. */
export interface Trace {
  /** It tries again, or asks again whether a lock is free. */
  retried(): void;
  mark(step: Step): void;
}

export interface RecordedTrace extends Trace {
  readonly retries: number;
  /** Times are of the monotonic clock, which all processes of a machine share, in microseconds. */
  readonly steps: readonly { readonly name: Step; readonly atUs: bigint }[];
}

/** Most steps that are kept of one request: with many retries, the last ones, of which one took effect. */
const MOST_STEPS = 40;

/**
 * @param stopAt  Where the whole process stands still, the first time that the step is marked, until somebody lets it go on
 *   (SIGCONT): as in a long pause of its garbage collector, or of its machine.
 */
export function recordTrace(stopAt?: Step): RecordedTrace {
  const marked: { name: Step; atUs: bigint }[] = [];
  let retries = 0;
  let stopsAt = stopAt;
  return {
    retried: () => {
      retries++;
    },
    mark: (name) => {
      if (marked.length === MOST_STEPS) marked.shift();
      marked.push({ name, atUs: process.hrtime.bigint() / 1000n });
      if (name !== stopsAt) return;
      stopsAt = undefined;
      process.kill(process.pid, 'SIGSTOP');
    },
    get retries() {
      return retries;
    },
    steps: marked,
  };
}

/** Outside of the lab nobody looks. */
export const noTrace: Trace = { retried: () => undefined, mark: () => undefined };
