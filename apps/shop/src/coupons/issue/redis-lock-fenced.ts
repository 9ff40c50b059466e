import { fencedUpdate, refused, registerFence } from 'pawl';
import { whileLocked } from '../../traced-lock.ts';
import { takeOne } from '../rules.ts';
import { couponIsGone, lookAgain } from './look.ts';
import { claimIssue, commit, stockColumns } from './steps.ts';
import type { IssueOutcome, IssueStrategy } from './strategy.ts';

/**
 * A lock in Redis that is renewed and handed on in turn, around a transaction that reads and then writes; and a fence in the
 * coupon's row for whoever outlasts his lease all the same.
 *
 * The token is put into the row, and committed, before anything is read, and the row is written only while it carries it.
 * So whoever has come too late is refused (`fenced`), whatever Redis has forgotten. The lock itself guards nothing any more:
 * it keeps the others from working in vain.
 *
 * Cost: the lock, and two commits.
 */
export const redisLockFenced: IssueStrategy = ({ redis, sql }) => {
  if (redis === undefined) throw new Error('redis-lock-fenced needs Redis');
  return (issue) =>
    whileLocked(redis.locks, `coupon:${issue.couponId}`, issue.trace, async ({ token }) => {
      const fence = {
        table: 'coupon',
        key: { id: issue.couponId },
        fence: { column: 'fence', token },
      };
      /** The row is never taken away, and nothing else is expected of it. */
      const fencedOff = (reason: 'fenced' | 'wrong-state') => {
        if (reason === 'wrong-state') throw couponIsGone(issue);
        return refused(reason);
      };

      const registered = await registerFence(sql, fence);
      if (registered.outcome !== 'done') return fencedOff(registered.reason);
      issue.trace.mark('registered');
      return commit(sql, issue, async (transaction): Promise<IssueOutcome> => {
        const seen = await lookAgain(transaction, issue);
        const taken = takeOne(seen);
        if (taken.outcome !== 'done') return taken;
        const set = stockColumns(taken.value);
        const written = await fencedUpdate(transaction, { ...fence, set, increment: 'version' });
        if (written.outcome !== 'done') return fencedOff(written.reason);
        issue.trace.mark('wrote');
        return claimIssue(transaction, issue, taken.value, seen.now);
      });
    });
};
