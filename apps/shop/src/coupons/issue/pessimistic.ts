import { lockThenTake } from './lock-then-take.ts';
import type { IssueStrategy } from './strategy.ts';

/** `SELECT … FOR UPDATE` (PESSIMISTIC_WRITE), then read, decide and write: everybody else waits for the lock. */
export const pessimistic: IssueStrategy = (tools) => (issue) => lockThenTake(tools, issue, {});
