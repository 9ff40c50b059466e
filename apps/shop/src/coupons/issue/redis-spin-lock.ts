import { readModifyWrite } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * The published lock that is asked for again and again, around a transaction that reads and then writes.
 *
 * It waits a pause after every attempt, so a hundred requests for one coupon take minutes; and it is right only while
 * nobody holds the lock for longer than its lease (`spinLock`).
 */
export const redisSpinLock: IssueStrategy = ({ redis, sql }) => {
  if (redis === undefined) throw new Error('redis-spin-lock needs Redis');
  return (issue) =>
    redis.publishedLocks.spin.run(`coupon:${issue.couponId}`, issue.trace, () => readModifyWrite(sql, issue));
};
