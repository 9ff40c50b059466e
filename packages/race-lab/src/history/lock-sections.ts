import type { Step } from './steps.ts';

/** What one request was told, as far as it tells of a lock. Times are of the monotonic clock, in microseconds. */
export interface LockAnswer {
  requestId: string;
  /** Name of the instance that answered, when it gave one. */
  instance: string | undefined;
  /** When the instance had the request, as far as is known. */
  askedAtUs: number;
  answeredAtUs: number;
  steps: readonly Step[];
}

/** One request had the lock. */
export interface LockSection {
  requestId: string;
  instance: string | undefined;
  /** Since when it waited. */
  askedAtUs: number;
  lockedAtUs: number;
  /** When it did the last thing before it gave the lock back. */
  doneAtUs: number;
  /** When it had given the lock back, or did the last thing that is known. */
  endedAtUs: number;
}

/** All sections of which the answers tell, by the time at which they began. */
export function sectionsOf(answers: readonly LockAnswer[]): LockSection[] {
  return answers
    .flatMap(({ requestId, instance, askedAtUs, steps }) =>
      steps.flatMap((step, index) => {
        if (step.name !== 'locked') return [];
        const next = steps.findIndex(({ name }, later) => later > index && name === 'locked');
        const section = steps.slice(index, next === -1 ? steps.length : next);
        const unlocked = section.find(({ name }) => name === 'unlocked');
        const done = section.findLast(({ name }) => name !== 'unlocked') ?? step;
        const endedAtUs = (unlocked ?? section.at(-1) ?? step).atUs;
        return [{ requestId, instance, askedAtUs, lockedAtUs: step.atUs, doneAtUs: done.atUs, endedAtUs }];
      }),
    )
    .sort((a, b) => a.lockedAtUs - b.lockedAtUs);
}

/**
 * How many sections began before another, of another instance, had done its last: then two had the lock. (That it has been
 * given back is known to the next holder sooner than to the last.)
 *
 * @param sections  By the time at which they began.
 */
export function overlapsOf(sections: readonly LockSection[]): number {
  return sections.filter((section, index) =>
    sections
      .slice(0, index)
      .some((earlier) => earlier.instance !== section.instance && earlier.doneAtUs > section.lockedAtUs),
  ).length;
}

/** A time during which somebody waited for the lock, and nobody is known to have had it. */
export interface Standstill {
  fromUs: number;
  untilUs: number;
  /** Who had waited: he had the lock then, or was told that he would not get it. */
  requestId: string;
}

/**
 * The longest time for which a lock stood still between sections; null where there were none.
 *
 * @param sections  By the time at which they began.
 * @param turnedAway  Those who waited and had no section at all. They waited until they were answered.
 */
export function longestStandstill(
  sections: readonly LockSection[],
  turnedAway: readonly Pick<LockAnswer, 'requestId' | 'askedAtUs' | 'answeredAtUs'>[],
): Standstill | null {
  const [first] = sections;
  if (first === undefined) return null;
  let coveredUntilUs = first.lockedAtUs;
  let longest: Standstill | null = null;
  const stood = (one: Standstill) => {
    if (one.untilUs - one.fromUs > (longest === null ? 0 : longest.untilUs - longest.fromUs)) longest = one;
  };
  for (const { requestId, askedAtUs, lockedAtUs, endedAtUs } of sections) {
    stood({ fromUs: Math.max(coveredUntilUs, askedAtUs), untilUs: lockedAtUs, requestId });
    coveredUntilUs = Math.max(coveredUntilUs, endedAtUs);
  }
  for (const { requestId, askedAtUs, answeredAtUs } of turnedAway) {
    stood({ fromUs: Math.max(coveredUntilUs, askedAtUs), untilUs: answeredAtUs, requestId });
  }
  return longest;
}
