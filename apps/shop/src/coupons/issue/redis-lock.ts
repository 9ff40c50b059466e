import { readModifyWrite } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * The published lock that is waited for, taken *outside* of the transaction that reads and then writes, and given back after
 * its commit.
 *
 * Right only while nobody holds the lock for longer than its lease, which nobody renews (`waitingLock`).
 */
export const redisLock: IssueStrategy = ({ redis, sql }) => {
  if (redis === undefined) throw new Error('redis-lock needs Redis');
  return (issue) =>
    redis.publishedLocks.waiting.run(`coupon:${issue.couponId}`, issue.trace, () =>
      readModifyWrite(sql, issue),
    );
};
