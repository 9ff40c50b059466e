import type { Judgement } from '../judgement.ts';
import type { Finding } from '../violation.ts';

/** The others alone take a tenth of two processors. Where they were as busy as this, other programs were at work. */
const BUSY_SHARE = 0.5;

/** What was seen of one member's flood of a coupon, and of the others who asked for it, in one round or several. */
export interface FloodSeen {
  /** Of the one member. */
  connections: number;
  /** His requests in all rounds. */
  asked: number;
  /** How many coupons he has of each round's. */
  got: readonly number[];
  /** Of the others, p99 in the flood ÷ p99 without it, the median of the rounds; null where a figure is missing. */
  p99Ratio: { median: number } | null;
  /** What the median has to be under. */
  limit: number;
  /** How busy the processors were without the flood, as a share of their time. */
  rounds: readonly { processors: { unloaded: { mean: number } } }[];
}

/**
 * Judges one member's flood of a coupon of which there is one for everybody.
 *
 * I0 and I5: of each round's coupon he has one, not none and not several. I14: the others' wait stays under the limit. Of
 * the wait nothing is known (`unknown`) where it was no flood, where the machine was busy with something else, or where
 * nobody was measured; what he has is judged all the same.
 */
export function judgeFlood(seen: FloodSeen): Judgement<Finding> {
  const violations = ofOneMember(seen);
  if (violations.length > 0) return { verdict: 'fail', violations, unknownBecause: null };
  const unknownBecause = whyNotMeasured(seen);
  if (unknownBecause !== null) return { verdict: 'unknown', violations, unknownBecause };
  const waited = ofTheOthers(seen);
  return { verdict: waited.length > 0 ? 'fail' : 'pass', violations: waited, unknownBecause: null };
}

function ofOneMember({ got, connections }: FloodSeen): Finding[] {
  const has = (count: number, round: number) =>
    `one member on ${connections} connections has ${count} coupons of round ${round}, where one is due`;
  return got.flatMap((count, index): Finding | [] => {
    if (count === 1) return [];
    return { invariant: count === 0 ? 'I0' : 'I5', detail: has(count, index + 1) };
  });
}

function whyNotMeasured({ connections, asked, got, rounds, p99Ratio }: FloodSeen): string | null {
  const unknown = 'what the others waited for is not known';
  if (asked < connections * got.length) {
    return `not every connection of the one member asked in every round, with ${asked} requests in all: ${unknown}`;
  }
  const busiest = Math.max(0, ...rounds.map(({ processors }) => processors.unloaded.mean));
  if (busiest > BUSY_SHARE) {
    const busy = `the processors were busy for ${(busiest * 100).toFixed(0)} % of the time without the flood`;
    return `${busy}: other programs were at work, and ${unknown}`;
  }
  return p99Ratio === null ? `nobody else was measured in the flood or without it: ${unknown}` : null;
}

function ofTheOthers({ p99Ratio, limit, connections }: FloodSeen): Finding[] {
  if (p99Ratio === null || p99Ratio.median < limit) return [];
  const times = `${p99Ratio.median.toFixed(2)} times as long at p99`;
  const detail = `beside one member on ${connections} connections the others waited ${times}, where less than ${limit} times is allowed`;
  return [{ invariant: 'I14', detail }];
}
