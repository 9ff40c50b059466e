import type { Expected } from './define-race.ts';
import type { MemberSeen, RoundSeen } from './round-seen.ts';

/** Why a round could not have shown the race. */
export type NotTelling =
  | 'nothing-succeeded'
  | 'no-overlap'
  | 'one-by-one'
  | 'too-few-succeeded'
  | 'unknown-effects';

/**
 * The first reason why a round could not have shown the race; undefined when it could have.
 *
 * @param isChecked  The race has a check of its own, which counts what took effect.
 */
export function whyNotTelling(
  { counts, overlapped, oneByOne, members }: RoundSeen,
  expect: Expected,
  isChecked: boolean,
): NotTelling | undefined {
  if (counts.success === 0) return 'nothing-succeeded';
  if (!overlapped) return 'no-overlap';
  if (counts.success < ('successes' in expect ? expect.successes : 1)) return 'too-few-succeeded';
  // A server that charges for all twenty, and then fails nineteen times, shows one success as well.
  if (!isChecked && members.some(mayHaveTakenEffect)) return 'unknown-effects';
  // Requests overlap by their release, whatever the server does: it may put them into a queue.
  return oneByOne ? 'one-by-one' : undefined;
}

/** Whether it failed when the server had it, or had enough of it for an answer. */
export function mayHaveTakenEffect(member: MemberSeen): boolean {
  return member.class === 'failure' && (member.status !== null || member.answeredMs > member.sentMs);
}
