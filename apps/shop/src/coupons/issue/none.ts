import { readModifyWrite } from './steps.ts';
import type { IssueStrategy } from './strategy.ts';

/**
 * No guard: read, then write.
 *
 * A hundred requests read the same stock, and each writes it back less one: a hundred coupons are handed out, and one is
 * taken off. This is the control of every race: if it does not fail, the race was none.
 */
export const none: IssueStrategy = (tools) => (issue) => readModifyWrite(tools.sql, issue);
