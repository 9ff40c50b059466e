/** What a strategy does with the stock, in the order in which it may be seen. */
export type IssueStep = 'locked' | 'read' | 'wrote' | 'committed' | 'unlocked';

/** Told what a strategy does, so that a race can be shown step by step. */
export interface IssueTrace {
  /** It tries again, or asks again whether a lock is free. */
  retried(): void;
  mark(step: IssueStep): void;
}

export interface RecordedTrace extends IssueTrace {
  readonly retries: number;
  /** Times are of the monotonic clock, which all processes of a machine share, in microseconds. */
  readonly steps: readonly { readonly name: IssueStep; readonly atUs: bigint }[];
}

/** Most steps that are kept of one request: with many retries, the last ones, of which one took effect. */
const MOST_STEPS = 40;

export function recordTrace(): RecordedTrace {
  const steps: { name: IssueStep; atUs: bigint }[] = [];
  let retries = 0;
  return {
    retried: () => {
      retries++;
    },
    mark: (name) => {
      if (steps.length === MOST_STEPS) steps.shift();
      steps.push({ name, atUs: process.hrtime.bigint() / 1000n });
    },
    get retries() {
      return retries;
    },
    steps,
  };
}

/** Outside of the lab nobody looks. */
export const noTrace: IssueTrace = { retried: () => undefined, mark: () => undefined };
