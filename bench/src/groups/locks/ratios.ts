import { figureOf, type Measured } from '../../measurement.ts';
import { type Demand, judge, type Ratio, wrong } from '../../ratio.ts';
import { quotients } from '../../statistics.ts';
import { DRAIN_MS, LEAST_SHARE, type Loads, MOST_SHARE, SECTIONS_PER_SECOND } from './contended.ts';
import { BARE_REDIS, PAWL_REDIS, PROMISE_MUTEX } from './contenders.ts';
import { PAIRS_PER_SECOND, ROUND_TRIPS } from './uncontended.ts';

/** All rows of one part. */
export type Part = ReadonlyMap<Loads, Measured>;

export interface LocksParts {
  readonly contended: Part;
  readonly burst: Part;
  /** Each caller on a key of its own: many callers, and one. */
  readonly busy: Part;
  readonly single: Part;
}

/**
 * What the group must show. With one caller, a pair over the loopback is twice a system call; that a script costs the server a few
 * microseconds more than a SET is shown there, and not held against it.
 */
export function ratiosOf({ contended, burst, busy, single }: LocksParts): Record<string, Ratio> {
  const atLeast = (floor: number, aim: number | null = null): Demand => ({ bound: 'at-least', floor, aim });
  const atMost = (floor: number, aim: number | null = null): Demand => ({ bound: 'at-most', floor, aim });
  return {
    'locks: contended, pawl redis ÷ mutex': compared(
      contended,
      SECTIONS_PER_SECOND,
      PROMISE_MUTEX,
      atLeast(0.85, 0.95),
    ),
    'locks: contended, pawl redis, worker with the fewest sections ÷ mean': plain(
      contended,
      LEAST_SHARE,
      atLeast(0.5),
    ),
    'locks: contended, pawl redis, worker with the most sections ÷ mean': plain(
      contended,
      MOST_SHARE,
      atMost(2),
    ),
    'locks: burst, time of pawl redis ÷ mutex': compared(burst, DRAIN_MS, PROMISE_MUTEX, atMost(1.4)),
    'locks: uncontended, 64 callers, pawl redis ÷ bare': compared(
      busy,
      PAIRS_PER_SECOND,
      BARE_REDIS,
      atLeast(0.9),
    ),
    'locks: uncontended, pawl redis, round trips of a pair': plain(single, ROUND_TRIPS, atMost(2)),
  };
}

/** A figure of the library's own row divided by that of a limit. */
function compared(part: Part, figure: string, limitRow: string, demand: Demand): Ratio {
  const limit = rowOf(part, limitRow);
  return ofOwn(part, demand, (own) =>
    limit === undefined || isWrong(limit) ? null : quotients(figureOf(own, figure), figureOf(limit, figure)),
  );
}

/** A figure of the library's own row that is a ratio by itself. */
function plain(part: Part, figure: string, demand: Demand): Ratio {
  return ofOwn(part, demand, (own) => {
    const values = figureOf(own, figure).filter((value) => value !== null);
    return values.length === own.rounds.length ? values : null;
  });
}

function ofOwn(part: Part, demand: Demand, roundsOf: (own: Measured) => readonly number[] | null): Ratio {
  const own = rowOf(part, PAWL_REDIS);
  if (own === undefined) return judge(null, demand);
  return isWrong(own) ? wrong(demand) : judge(roundsOf(own), demand);
}

function rowOf(part: Part, row: string): Measured | undefined {
  return [...part].find(([{ spec }]) => spec.row === row)?.[1];
}

function isWrong({ warmUp, rounds }: Measured): boolean {
  return [warmUp, ...rounds].some((one) => one.wrong.length > 0);
}
