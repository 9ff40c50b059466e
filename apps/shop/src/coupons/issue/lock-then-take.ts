import { type RowLock, refused, withRowLock } from 'pawl';
import { takeOne } from '../rules.ts';
import { couponIsGone, lookAgain } from './look.ts';
import { claimIssue, overwriteStock, retryTraced } from './steps.ts';
import type { Issue, IssueOutcome, IssueTools } from './strategy.ts';

/**
 * Locks the coupon's row, and then reads, decides and writes: what was read under the lock is still so when it is written.
 * Deadlocks must be expected, and are tried again.
 */
export async function lockThenTake(
  { sql, settings }: IssueTools,
  issue: Issue,
  kind: Pick<RowLock, 'mode' | 'increment'>,
): Promise<IssueOutcome> {
  const lock: RowLock = {
    table: 'coupon',
    key: { id: issue.couponId },
    columns: ['id'],
    waitMs: settings.lockWaitMs,
    ...kind,
  };
  const outcome = await retryTraced(issue, async (): Promise<IssueOutcome> => {
    const locked = await withRowLock(sql, lock, async (_row, transaction): Promise<IssueOutcome> => {
      issue.trace.mark('locked');
      const seen = await lookAgain(transaction, issue);
      const taken = takeOne(seen);
      if (taken.outcome !== 'done') return taken;
      await overwriteStock(transaction, issue, taken.value);
      return claimIssue(transaction, issue, taken.value, seen.now);
    });
    if (locked.outcome === 'done') return locked;
    if (locked.reason === 'wrong-state') throw couponIsGone(issue);
    return refused(locked.reason);
  });
  if (outcome.outcome === 'done') issue.trace.mark('committed');
  return outcome;
}
