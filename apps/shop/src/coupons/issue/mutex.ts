import { readModifyWrite } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * A mutex in the memory of the process (`synchronized`): on this instance one request after the other reads, writes and
 * commits.
 *
 * Right on one instance. On four there are four mutexes, and up to four requests read the same stock.
 */
export const mutex: IssueStrategy = (tools) => {
  /** Of each coupon that is asked for: resolves when the last in line is through. */
  const lines = new Map<string, Promise<unknown>>();

  return (issue) => {
    const { couponId } = issue;
    const before = lines.get(couponId) ?? Promise.resolve();
    const through = before.then(() => readModifyWrite(tools.sql, issue));
    const settled = through
      .catch(() => undefined) // The one who asked hears of it; the next in line goes on.
      .then(() => {
        if (lines.get(couponId) === settled) lines.delete(couponId);
      });
    lines.set(couponId, settled);
    return through;
  };
};
