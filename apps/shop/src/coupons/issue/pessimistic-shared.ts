import { lockThenTake } from './lock-then-take.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * `SELECT … FOR SHARE` (PESSIMISTIC_READ). Nobody changes the coupon while it is shared, so nothing is lost; but all who
 * share it want to change it, and wait for each other: a deadlock, of which the database ends all but one. Right, it
 * crawls, and whoever has run out of attempts is refused.
 */
export const pessimisticShared: IssueStrategy = (tools) => (issue) =>
  lockThenTake(tools, issue, { mode: 'share' });
