import { whileLocked } from '../../traced-lock.ts';
import { chargeUnclaimed, lookWhetherWaiting } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * A lock that holds over all instances, in Redis or in the database: whoever has it looks, charges, writes and commits, and
 * only then gives it back.
 *
 * Right while nobody outlasts his lease. Renewing it helps against a slow provider; it cannot help who stands still between
 * his look and his charge: the lease ends, the next one looks, sees WAITING too, and both charge.
 */
export const distributedLock: PurchaseStrategy = (tools) => (purchase) =>
  whileLocked(tools.locks, `purchase:${purchase.orderId}`, purchase.trace, async () => {
    const waiting = await lookWhetherWaiting(tools, purchase);
    return waiting.outcome === 'done' ? chargeUnclaimed(tools, purchase) : waiting;
  });
