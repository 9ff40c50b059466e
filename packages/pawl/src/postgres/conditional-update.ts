import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

export const conditionalUpdate: SqlDialect['conditionalUpdate'] = ({
  table,
  key,
  expect,
  set,
  increment,
}) => {
  const sql = new SqlText();
  const assignments = sql.assigns(set);
  if (increment !== undefined) assignments.push(`${quote(increment)} = ${quote(increment)} + 1`);
  const condition = sql.matches(merge(key, expect));
  return sql.statement(`UPDATE ${quote(table)} SET ${assignments.join(', ')} WHERE ${condition}`);
};
