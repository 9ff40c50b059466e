/** A timer of Node that is set to more than this, in milliseconds, ends at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
