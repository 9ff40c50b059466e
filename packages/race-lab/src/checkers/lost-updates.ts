import type { RacedAnswer } from '../history/answer.ts';
import type { CouponAnswer } from '../history/coupon-answer.ts';
import type { IssuedRow } from '../history/coupon-rows.ts';
import type { Step } from '../history/steps.ts';

/**
 * The interleaving of a lost update: of two requests that were given the same serial number, because the second read the
 * stock before the first had committed what it made of it. Of all such pairs it is the one whose second read came first. One
 * line a step, in the order of time, relative to the first:
 *
 *     +0.0 ms lotto-back-2 locked (request r-17)
 *     +1003.2 ms lotto-back-3 locked (request r-18)
 *     …
 *     both wrote serial 57
 *
 * At most 11 lines. Null when no number was given twice, when the instances did not tell what they did, and when those who
 * were given it did not overlap: where a stale number was written back, later ones are given again one after the other,
 * which is a consequence and not the cause.
 */
export function lostUpdate(answers: readonly CouponAnswer[], issued: readonly IssuedRow[]): string[] | null {
  const writerOf = new Map(answers.map((answer) => [answer.requestId, writerFrom(answer)]));
  const sameNumber = Map.groupBy(issued, ({ couponId, serial }) => `${couponId} ${serial}`).values();
  const pairs = [...sameNumber].flatMap((rows) => {
    const writers = rows.flatMap(({ requestId }) => writerOf.get(requestId) ?? []);
    const pair = firstOverlap(writers.sort((a, b) => a.readAtUs - b.readAtUs));
    const [row] = rows;
    return pair === undefined || row === undefined
      ? []
      : [{ ...pair, serial: row.serial, times: rows.length }];
  });
  const [earliest] = pairs.sort((a, b) => a.second.readAtUs - b.second.readAtUs);
  return earliest === undefined ? null : interleaving(earliest);
}

/** A request that wrote a serial number, and what its instance did for it. */
interface Writer {
  answer: CouponAnswer;
  /** Of the attempt that took effect. */
  steps: readonly Step[];
  readAtUs: number;
  committedAtUs: number;
}

interface Pair {
  first: Writer;
  second: Writer;
}

/** Undefined when it is not known what the instance did. */
function writerFrom(answer: CouponAnswer): Writer | undefined {
  const steps = lastAttempt(answer.steps);
  const readAtUs = steps.find(({ name }) => name === 'read')?.atUs;
  const committedAtUs = steps.find(({ name }) => name === 'committed')?.atUs;
  if (readAtUs === undefined || committedAtUs === undefined) return undefined;
  return { answer, steps, readAtUs, committedAtUs };
}

/** From the end back to where a step is one that comes once more: that belongs to an attempt before. */
function lastAttempt(steps: readonly Step[]): readonly Step[] {
  const start = steps.findLastIndex(({ name }, index) =>
    steps.slice(index + 1).some((later) => later.name === name),
  );
  return steps.slice(start + 1);
}

/**
 * The first two of whom the second read before the first had committed. Neighbours are enough: when somebody reads before
 * another has committed, so did whoever read next after that one.
 *
 * @param writers  Of one serial number, by the time at which they read.
 */
function firstOverlap(writers: readonly Writer[]): Pair | undefined {
  const pairs = writers.slice(1).flatMap((second, index) => {
    const first = writers[index];
    return first === undefined ? [] : [{ first, second }];
  });
  return pairs.find(({ first, second }) => second.readAtUs < first.committedAtUs);
}

function interleaving({ first, second, serial, times }: Pair & { serial: number; times: number }): string[] {
  const lines = stepLines(
    [first, second].flatMap(({ answer, steps }) => steps.map((step) => ({ ...step, answer }))),
  );
  const more = times === 2 ? '' : `, and so did ${times - 2} more`;
  return [...lines, `both wrote serial ${serial}${more}`];
}

/** One line a step, in the order of time, relative to the first. */
export function stepLines(
  steps: readonly (Step & { answer: Pick<RacedAnswer, 'instance' | 'requestId'> })[],
): string[] {
  const inOrder = steps.toSorted((a, b) => a.atUs - b.atUs);
  const startUs = inOrder[0]?.atUs ?? 0;
  return inOrder.map(({ name, atUs, answer: { instance, requestId } }) => {
    const ms = ((atUs - startUs) / 1000).toFixed(1);
    return `+${ms} ms ${instance ?? 'an instance'} ${name} (request ${requestId})`;
  });
}
