import { columnsOf } from '../columns.ts';
import type { BatchStatements, Columns, SqlValue } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const lockRows: BatchStatements['lockRows'] = ({ table, keys, columns, wait, nowAs }) => {
  const sql = new SqlText();
  const order = columnsOf(keys).map(quote).join(', ');
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')}${nowIn(nowAs)} FROM ${quote(table)} WHERE ${anyOf(sql, keys)}
     ORDER BY ${order} FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
  );
};

export const readRows: BatchStatements['readRows'] = ({ table, keys, columns, nowAs }) => {
  const sql = new SqlText();
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')}${nowIn(nowAs)} FROM ${quote(table)} WHERE ${anyOf(sql, keys)}`,
  );
};

/**
 * One for those that are set alike: there is no statement on both servers that sets many rows to different values and compares keys as
 * their columns do.
 */
export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set }) => {
  columnsOf(set);
  const alike = new Map<string, { readonly values: Columns; readonly keys: Columns[] }>();
  keys.forEach((key, index) => {
    const values = set[index] as Columns;
    const id = JSON.stringify(Object.values(values).map(typedText));
    const known = alike.get(id);
    if (known === undefined) alike.set(id, { values, keys: [key] });
    else known.keys.push(key);
  });
  return [...alike.values()].map(({ values, keys }) => {
    const sql = new SqlText();
    const assignments = sql.assigns(values).join(', ');
    return sql.statement(`UPDATE ${quote(table)} SET ${assignments} WHERE ${anyOf(sql, keys)}`);
  });
};

export const insertRows: BatchStatements['insertRows'] = ({ table, rows }) => {
  const sql = new SqlText();
  const names = columnsOf(rows);
  const values = rows.map((row) => `(${names.map((name) => sql.value(row[name] ?? null)).join(', ')})`);
  const columns = names.map(quote).join(', ');
  return sql.statement(`INSERT INTO ${quote(table)} (${columns}) VALUES ${values.join(', ')}`);
};

/** From 1970 and not UNIX_TIMESTAMP, which takes a moment for one in the session's time zone. */
function nowIn(nowAs: string | undefined): string {
  const sinceMs = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${NOW}) / 1000`;
  return nowAs === undefined ? '' : `, ${sinceMs} AS ${quote(nowAs)}`;
}

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

/** Different for what is stored differently. */
function typedText(value: SqlValue): readonly string[] {
  if (value instanceof Uint8Array) return ['bytes', Buffer.from(value).toString('hex')];
  if (value instanceof Date) return ['moment', String(value.getTime())];
  return [typeof value, String(value)];
}

function asText(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
