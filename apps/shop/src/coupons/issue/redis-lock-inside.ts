import { whileLocked } from '../../traced-lock.ts';
import { commit, readThenWrite } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * The same lock *inside* of the transaction, as an aspect around a transactional method has it when their order is wrong.
 *
 * The mistake: the lock is given back before the commit.
 *
 *     A  has the lock, reads 10 left, writes 9, gives the lock back
 *     B  has the lock, and reads: 10 left, since A has not committed
 *     A  commits
 *     B  writes 9, and commits
 *
 * And whoever waits for the lock does so in a transaction, with a connection that others need.
 */
export const redisLockInside: IssueStrategy = ({ redis, sql }) => {
  if (redis === undefined) throw new Error('redis-lock-inside needs Redis');
  return (issue) =>
    commit(sql, issue, (transaction) =>
      whileLocked(redis.locks, `coupon:${issue.couponId}`, issue.trace, () =>
        readThenWrite(transaction, issue),
      ),
    );
};
