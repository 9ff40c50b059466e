import type { BatchStatements, Columns, SqlStatement } from '../ports.ts';
import { anyOf, updateRows } from './batch.ts';
import { quote, SqlText } from './sql.ts';

export const changeRows: BatchStatements['changeRows'] = ({ table, keys, expect, set }) => [
  lockingAll(table, keys, (sql) => [sql.matches(expect)]),
  ...updateRows({ table, keys, set }),
];

/**
 * Locks the rows, and fails with 1242, "Subquery returns more than 1 row", where not all of them are there, hold what is expected and are
 * nobody else's. The server goes no further in the message.
 */
export function lockingAll(
  table: string,
  keys: readonly Columns[],
  expected: (sql: SqlText) => readonly string[],
): SqlStatement {
  const sql = new SqlText();
  const its = [`(${anyOf(sql, keys)})`, ...expected(sql)].join(' AND ');
  return sql.statement(
    `SELECT IF(COUNT(*) = ${keys.length}, 1, (SELECT 1 UNION ALL SELECT 2)) AS locked
     FROM ${quote(table)} WHERE ${its} FOR UPDATE SKIP LOCKED`,
  );
}
