import { registerFence, transactWithRetry } from 'pawl';
import { whileLocked } from '../../traced-lock.ts';
import { publishFence } from '../publish.ts';
import { chargeClaimed, claimOrder, lookWhetherWaiting } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * The same lock, and a fence for whoever outlasts his lease: the token is put into the row before anything is read, and the row
 * changes only while it carries it.
 *
 * A charge cannot be undone by a fence, so the order is claimed before: WAITING → PENDING, which only the last to
 * register can do. And nobody registers once it is PENDING, so whoever is charging is fenced off by nobody, however long he
 * stands still; he comes back and completes.
 *
 * What if the process dies while it charges? As in `chargeClaimed`: the order stays PENDING.
 */
export const distributedLockFenced: PurchaseStrategy = (tools) => (purchase) =>
  whileLocked(tools.locks, `purchase:${purchase.orderId}`, purchase.trace, async ({ token }) => {
    const fenced = { ...purchase, fenceToken: token };
    const registered = await registerFence(tools.sql, {
      ...publishFence(purchase, token),
      expect: { status: 'WAITING' },
    });
    if (registered.outcome !== 'done') return registered;
    purchase.trace.mark('registered');
    const waiting = await lookWhetherWaiting(tools, purchase);
    if (waiting.outcome !== 'done') return waiting;
    const claimed = await transactWithRetry(tools.sql, (transaction) => claimOrder(transaction, fenced));
    return claimed.outcome === 'done' ? chargeClaimed(tools, fenced) : claimed;
  });
