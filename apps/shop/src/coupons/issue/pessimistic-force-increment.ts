import { lockThenTake } from './lock-then-take.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * `SELECT … FOR UPDATE`, and the version is counted up as soon as the lock is held (PESSIMISTIC_FORCE_INCREMENT), so that
 * whoever read the coupon without a lock finds it changed. It costs one statement more.
 */
export const pessimisticForceIncrement: IssueStrategy = (tools) => (issue) =>
  lockThenTake(tools, issue, { increment: 'version' });
