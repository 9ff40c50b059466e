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
    const arrivals = ofOrder.flatMap(({ arrivedAtUs }) => arrivedAtUs ?? []);
    if (arrivals.length < 2) continue;
    spreadsMs.set(orderId, (Math.max(...arrivals) - Math.min(...arrivals)) / 1000);
  }
  return spreadsMs;
}
