import { monotonicUs } from '../racer/exchange.ts';

/**
 * How far the wall clock is ahead of the monotonic one, in microseconds, within a few of them. It keeps the process busy until
 * the next millisecond begins: the wall clock tells only whole ones, and at its step it is exact.
 */
export function wallAheadUs(): number {
  const before = Date.now();
  for (;;) {
    const us = monotonicUs();
    const wallMs = Date.now();
    if (wallMs !== before) return wallMs * 1000 - us;
  }
}
