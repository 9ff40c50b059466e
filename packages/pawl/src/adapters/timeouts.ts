import { MisuseError } from '../errors.ts';
import { LONGEST_TIMER_MS } from '../timers.ts';

/** @throws MisuseError  One of them is no whole number of milliseconds that a timer can wait. */
export function requireTimeouts(timeouts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(timeouts)) {
    if (!Number.isInteger(value) || value < 1 || value > LONGEST_TIMER_MS) {
      throw new MisuseError(
        `${name} must be a whole number of milliseconds from 1 to ${LONGEST_TIMER_MS}, got ${value}`,
      );
    }
  }
}
