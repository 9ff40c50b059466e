import { commit, retryTraced, takeGuarded } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * `UPDATE … SET remaining = remaining - 1 WHERE id = ? AND remaining > 0`, and an insertion that is unique for the member,
 * in one transaction. The database lets one after the other through, and tells the rest that no row was changed. A duplicate
 * rolls back what it took, so it burns nothing.
 */
export const conditionalUpdate: IssueStrategy = (tools) => (issue) =>
  retryTraced(issue, () => commit(tools.sql, issue, (transaction) => takeGuarded(transaction, issue)));
