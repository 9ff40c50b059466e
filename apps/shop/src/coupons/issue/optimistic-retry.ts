import type { ConflictRetry } from 'pawl';
import { takeOne } from '../rules.ts';
import { lookAgain } from './look.ts';
import { commit, retryTraced, takeVersioned } from './steps.ts';
import type { IssueStrategy, IssueTools } from './strategy.ts';

/**
 * A version column, and the retry *around* the transaction: whoever finds the coupon changed reads it again in a new one.
 *
 * Each lost attempt means that somebody else got one, so with as many attempts as there are coupons nobody is turned
 * away; and with fewer than there are rivals, somebody may be (`contended`).
 */
export const optimisticRetry: IssueStrategy = (tools) => {
  const retry = retryOf(tools);
  return (issue) => {
    const attempt = () =>
      commit(tools.sql, issue, async (transaction) => {
        const seen = await lookAgain(transaction, issue);
        const taken = takeOne(seen);
        if (taken.outcome !== 'done') return taken;
        return takeVersioned(transaction, issue, seen, taken.value);
      });
    return retryTraced(issue, attempt, retry);
  };
};

function retryOf({ settings: { retryAttempts, retryPauseMs } }: IssueTools): ConflictRetry {
  return { attempts: retryAttempts, backoffMs: retryPauseMs, maxBackoffMs: retryPauseMs * 4, jitter: 0.5 };
}
