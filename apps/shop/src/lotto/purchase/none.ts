import { chargeUnclaimed, lookWhetherWaiting } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * No guard: look, then act.
 *
 * Five requests look at the same moment, and all five see WAITING. The provider is asked five times. This is
 * the control of every race: if it does not fail, the race was none.
 */
export const none: PurchaseStrategy = (tools) => async (purchase) => {
  const waiting = await lookWhetherWaiting(tools, purchase);
  return waiting.outcome === 'done' ? chargeUnclaimed(tools, purchase) : waiting;
};
