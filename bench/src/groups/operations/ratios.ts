import { figureOf, type Measured } from '../../measurement.ts';
import { type Demand, judge, type Ratio, wrong } from '../../ratio.ts';
import { quotients } from '../../statistics.ts';

/** The rows of one part, by their names. */
export type MeasuredRows = ReadonlyMap<string, Measured>;

export const atLeast = (floor: number, aim: number): Demand => ({ bound: 'at-least', floor, aim });
export const atMost = (floor: number, aim: number): Demand => ({ bound: 'at-most', floor, aim });

/**
 * A figure of a row of our own divided by that of another, round by round. To a row that is wrong nothing is compared, and of one
 * of our own that is wrong nothing holds.
 *
 * @param own, other  Undefined: they were not measured.
 */
export function compared(
  own: Measured | undefined,
  other: Measured | undefined,
  figure: string,
  demand: Demand,
): Ratio {
  if (own === undefined) return judge(null, demand);
  if (isWrong(own)) return wrong(demand);
  if (other === undefined || isWrong(other)) return judge(null, demand);
  return judge(quotients(figureOf(own, figure), figureOf(other, figure)), demand);
}

function isWrong({ warmUp, rounds }: Measured): boolean {
  return [warmUp, ...rounds].some((one) => one.wrong.length > 0);
}
