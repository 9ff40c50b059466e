import { MisuseError } from './errors.ts';

/** A timer of Node that is set to more than this, in milliseconds, ends at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The stores count in microseconds. @throws MisuseError */
export function requireMs(times: Readonly<Record<string, number>>, least: number): void {
  for (const [name, value] of Object.entries(times)) {
    if (!Number.isSafeInteger(value * 1_000) || !Number.isInteger(value) || value < least) {
      throw new MisuseError(`${name} must be a whole number of milliseconds ≥ ${least}, got ${value}`);
    }
  }
}

/** Resolves when the event loop has looked for what else has come. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
