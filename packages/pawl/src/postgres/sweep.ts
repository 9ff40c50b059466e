import type { SqlDialect } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/**
 * `FOR UPDATE` reads the condition again on a row that has changed since the snapshot, so only what is over, and stays
 * locked, is deleted. As an array the list is made once; a plan that asked for it once more would go past the limit.
 * The condition stands outside too, because on a partitioned table a ctid names one row of each partition. And the clock
 * is asked in a subselect: compared with the function itself, no index would be used.
 */
export const sweepExpired: SqlDialect['sweepExpired'] = ({ table, column, limit }) => {
  const over = `${quote(column)} <= (SELECT ${NOW})`;
  const first = `ORDER BY ${quote(column)} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
  const list = `SELECT ctid FROM ${quote(table)} WHERE ${over} ${first}`;
  return new SqlText().statement(`DELETE FROM ${quote(table)} WHERE ctid = ANY (ARRAY(${list})) AND ${over}`);
};
