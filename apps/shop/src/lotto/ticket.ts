import { randomInt } from 'node:crypto';

/** Six different numbers of 45, in ascending order. */
export type LottoNumbers = readonly number[];

export const NUMBERS_IN_A_TICKET = 6;
export const HIGHEST_NUMBER = 45;
/** In won, which has no minor unit. */
export const TICKET_PRICE = 1_000;
export const MOST_TICKETS_IN_AN_ORDER = 100;

/** Draws by Fisher and Yates with the system's random numbers, so that no ticket is likelier than another. */
export function quickPick(): LottoNumbers {
  const numbers = Array.from({ length: HIGHEST_NUMBER }, (_, index) => index + 1);
  const drawn: number[] = [];
  while (drawn.length < NUMBERS_IN_A_TICKET) drawn.push(...numbers.splice(randomInt(numbers.length), 1));
  return drawn.sort((a, b) => a - b);
}
