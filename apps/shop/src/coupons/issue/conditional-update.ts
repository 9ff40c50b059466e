import { retryOnConflict } from 'pawl';
import { commit, takeGuarded } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * `UPDATE … SET remaining = remaining - 1 WHERE id = ? AND remaining > 0`, and an insertion that is unique for the member,
 * in one transaction. The database lets one after the other through, and tells the rest that no row was changed. A duplicate
 * rolls back what it took, so it burns nothing.
 */
export const conditionalUpdate: IssueStrategy = (tools) => (issue) => {
  let attempts = 0;
  return retryOnConflict(() => {
    if (attempts++ > 0) issue.trace.retried();
    return commit(tools.sql, issue, (transaction) => takeGuarded(transaction, issue));
  });
};
