import { columnsOf } from '../columns.ts';
import type { BatchStatements, Columns } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const lockRows: BatchStatements['lockRows'] = ({ table, keys, columns, wait }) => {
  const sql = new SqlText();
  const order = columnsOf(keys).map(quote).join(', ');
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE ${anyOf(sql, keys)}
     ORDER BY ${order} FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
  );
};

export const readRows: BatchStatements['readRows'] = ({ table, keys, columns, nowAs }) => {
  const sql = new SqlText();
  // From 1970 and not UNIX_TIMESTAMP, which takes a moment for one in the session's time zone.
  const sinceMs = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${NOW}) / 1000`;
  const now = nowAs === undefined ? '' : `, ${sinceMs} AS ${quote(nowAs)}`;
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')}${now} FROM ${quote(table)} WHERE ${anyOf(sql, keys)}`,
  );
};

/** One each: there is no statement on both servers that sets many rows to different values and compares keys as their columns do. */
export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set }) => {
  columnsOf(set);
  return keys.map((key, index) => {
    const sql = new SqlText();
    const assignments = sql.assigns(set[index] as Columns).join(', ');
    return sql.statement(`UPDATE ${quote(table)} SET ${assignments} WHERE ${sql.matches(key)}`);
  });
};

export const insertRows: BatchStatements['insertRows'] = ({ table, rows }) => {
  const sql = new SqlText();
  const names = columnsOf(rows);
  const values = rows.map((row) => `(${names.map((name) => sql.value(row[name] ?? null)).join(', ')})`);
  const columns = names.map(quote).join(', ');
  return sql.statement(`INSERT INTO ${quote(table)} (${columns}) VALUES ${values.join(', ')}`);
};

/**
 * Of several columns, those but the last are compared once for all that share them, and the last is a list: no index is used for a
 * list of rows (MariaDB).
 */
function anyOf(sql: SqlText, keys: readonly Columns[]): string {
  const names = columnsOf(keys);
  const last = names.at(-1) as string;
  const groups = new Map<string, { readonly shared: Columns; readonly keys: Columns[] }>();
  for (const key of keys) {
    const { [last]: _, ...shared } = key;
    const id = names.length === 1 ? '' : JSON.stringify(shared, asText);
    const group = groups.get(id);
    if (group === undefined) groups.set(id, { shared, keys: [key] });
    else group.keys.push(key);
  }
  const conditions = [...groups.values()].map((group) => {
    // In the order of their marks.
    const shared = names.length === 1 ? '' : `${sql.matches(group.shared)} AND `;
    const list = group.keys.map((key) => sql.value(key[last] ?? null)).join(', ');
    return `(${shared}${quote(last)} IN (${list}))`;
  });
  return conditions.join(' OR ');
}

function asText(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
