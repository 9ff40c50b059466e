import type { Answer } from './answer.ts';
import { byOrder } from './evidence.ts';

/**
 * How close together the requests of each order arrived at the instances: last minus first arrival, in
 * milliseconds. Orders with fewer than two stamped arrivals are left out.
 *
 * The stamps compare because all instances run on one machine and read its one monotonic clock.
 */
export function arrivalSpread(answers: readonly Answer[]): Map<string, number> {
  const spreadsMs = new Map<string, number>();
  for (const [orderId, ofOrder] of byOrder(answers)) {
    const spreadMs = spreadOf(ofOrder);
    if (spreadMs !== null) spreadsMs.set(orderId, spreadMs);
  }
  return spreadsMs;
}

/** The same of any requests that were released together; null with fewer than two stamped arrivals. */
export function spreadOf(answers: readonly { arrivedAtUs: number | undefined }[]): number | null {
  const arrivals = answers.flatMap(({ arrivedAtUs }) => arrivedAtUs ?? []);
  if (arrivals.length < 2) return null;
  return (Math.max(...arrivals) - Math.min(...arrivals)) / 1000;
}
