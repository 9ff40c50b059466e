import { refused } from 'pawl';
import type { ShopDatabase } from '../../store/database.ts';
import { findOrder } from '../order.ts';
import type { Confirmation } from './confirmation.ts';
import type { DurablePurchaseOutcome, DurablePurchases } from './durable/durable-purchases.ts';
import { type StrategyName, strategies, strategyNames } from './index.ts';
import { refusalFor } from './steps.ts';
import type { PurchaseOutcome, PurchaseStrategy, PurchaseTools } from './strategy.ts';

/** What is wrong with a confirmation before anybody is asked to pay. Nothing has been changed by then. */
export type Objection =
  | 'order-not-found'
  | 'publish-mismatch'
  | 'amount-mismatch'
  | 'round-closed'
  | 'payment-given-back'
  | 'strategy-unavailable';

export type Purchases = (
  confirmation: Confirmation,
) => Promise<
  PurchaseOutcome | DurablePurchaseOutcome | { readonly outcome: 'objection'; readonly objection: Objection }
>;

/** Pays orders: checks that the confirmation fits the order, then lets the chosen strategy run. */
export function purchases(
  tools: PurchaseTools & { readonly serverName: string; readonly durable: DurablePurchases },
): Purchases {
  // Each is made once, because `in-memory` keeps its flags for as long as the process lives.
  const ready = new Map<StrategyName, ReturnType<PurchaseStrategy>>();
  for (const name of strategyNames) {
    const { strategy, needs } = strategies[name];
    if (strategy === undefined || (needs === 'redis' && tools.publishedKeys === undefined)) continue;
    ready.set(name, strategy(tools));
  }

  const purchaseBy = async (confirmation: Confirmation): ReturnType<Purchases> => {
    const purchase = ready.get(confirmation.strategy);
    if (purchase === undefined) return { outcome: 'objection', objection: 'strategy-unavailable' };
    const checked = await check(tools.db, confirmation);
    if (typeof checked === 'string') return { outcome: 'objection', objection: checked };
    const outcome = await purchase({
      orderId: checked.orderId,
      lottoPublishId: checked.lottoPublishId,
      memberId: checked.memberId,
      amount: checked.amount,
      currency: checked.currency,
      paymentKey: confirmation.paymentKey,
      testCode: confirmation.testCode,
      trace: confirmation.trace,
      actor: {
        strategy: confirmation.strategy,
        instance: tools.serverName,
        requestId: confirmation.requestId,
      },
    });
    // A guard only knows that the order was not WAITING. What it was before the race says more.
    const vague = outcome.outcome === 'refused' && outcome.reason === 'wrong-state';
    return vague && checked.status !== 'WAITING' ? refusalFor(checked.status) : outcome;
  };
  return (confirmation) =>
    confirmation.strategy === 'durable' ? purchaseDurably(tools, confirmation) : purchaseBy(confirmation);
}

/** Its claim checks and takes the order in one go, so only who did not get it, and not because of what it was, is told why by a look at the order. */
async function purchaseDurably(
  { db, durable }: { readonly db: ShopDatabase; readonly durable: DurablePurchases },
  confirmation: Confirmation,
): Promise<DurablePurchaseOutcome | { readonly outcome: 'objection'; readonly objection: Objection }> {
  const outcome = await durable.confirm(confirmation);
  if (outcome.outcome !== 'refused' || outcome.reason !== 'wrong-state') return outcome;
  const { why } = outcome;
  if (why === 'round-closed' || why === 'payment-given-back') return { outcome: 'objection', objection: why };
  if (why !== undefined) return refusalFor(why);
  const checked = await check(db, confirmation);
  if (typeof checked === 'string') return { outcome: 'objection', objection: checked };
  // It is as he says, and the member's, by now.
  return checked.status === 'WAITING' ? refused('contended') : refusalFor(checked.status);
}

async function check(db: ShopDatabase, confirmation: Confirmation) {
  const order = await findOrder(db, confirmation);
  if (order === undefined) return 'order-not-found';
  if (order.lottoPublishId !== confirmation.lottoPublishId) return 'publish-mismatch';
  if (confirmation.amount !== undefined && confirmation.amount !== order.amount) return 'amount-mismatch';
  // A sale that was claimed while the round was open completes, so only what is still WAITING comes too late.
  if (order.status === 'WAITING' && !order.onSale) return 'round-closed';
  return order;
}
