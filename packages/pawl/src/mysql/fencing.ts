import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

export const raiseFence: SqlDialect['raiseFence'] = ({ table, key, expect, column, token }) => {
  const sql = new SqlText();
  const name = quote(column);
  const assignment = `${name} = ${sql.value(token)}`;
  const condition = sql.matches(merge(key, expect));
  return sql.statement(
    `UPDATE ${quote(table)} SET ${assignment} WHERE ${condition} AND ${name} < ${sql.value(token)}`,
  );
};
