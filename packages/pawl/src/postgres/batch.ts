import { columnsOf } from '../columns.ts';
import type { BatchStatements, Columns, SqlStatement, SqlValue } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/**
 * Rows come as one parameter, JSON, and have the types of their table's columns: so the statement is the same for a batch of every size,
 * and is prepared once. Where few lists say it, these do, since JSON costs several times as much to read.
 *
 * LATERAL, with what keeps it from being flattened, has one row found after the other by an index, whatever the planner thinks of the
 * size of a parameter and of a table that was small when it was asked.
 */
const given = (table: string) => `json_populate_recordset(NULL::${quote(table)}, $1::json)`;

export const lockRows: BatchStatements['lockRows'] = ({ table, keys, columns, wait, nowAs }) => {
  const names = columnsOf(keys);
  const lock = `FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`;
  const its = `SELECT ${list(columns)}${nowIn(nowAs)} FROM ${quote(table)} AS own WHERE`;
  const lists = asLists(names, keys);
  // Sorted, and then locked.
  if (lists !== undefined) {
    return { ...lists, text: `${its} ${lists.text} ORDER BY ${list(names)} ${lock}`, prepared: true };
  }
  const order = names.map(quote).join(', ');
  return statement(
    `SELECT own.* FROM (SELECT * FROM ${given(table)} ORDER BY ${order}) AS given
     CROSS JOIN LATERAL (${its} ${matches(names)} ${lock}) AS own`,
    keys,
  );
};

export const readRows: BatchStatements['readRows'] = ({ table, keys, columns, nowAs }) => {
  const names = columnsOf(keys);
  const its = `SELECT ${list(columns)}${nowIn(nowAs)} FROM ${quote(table)} AS own WHERE`;
  const lists = asLists(names, keys);
  if (lists !== undefined) return { ...lists, text: `${its} ${lists.text}`, prepared: true };
  return statement(
    `SELECT own.* FROM ${given(table)} AS given
     CROSS JOIN LATERAL (${its} ${matches(names)} OFFSET 0) AS own`,
    keys,
  );
};

export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set }) => {
  const names = columnsOf(keys);
  const changed = columnsOf(set);
  const update = `UPDATE ${quote(table)} AS own SET`;
  const [key, another] = keys;
  const [values] = set;
  if (key !== undefined && values !== undefined && another === undefined) {
    const sql = new SqlText();
    const statement = sql.statement(`${update} ${sql.assigns(values).join(', ')} WHERE ${sql.matches(key)}`);
    return [{ ...statement, prepared: true }];
  }
  const assignments = changed.map((name) => `${quote(name)} = given.${quote(name)}`).join(', ');
  const rows = keys.map((key, index) => ({ ...key, ...set[index] }));
  // No key is NULL: said so, the planner expects few of them, and finds each by an index. For a hundred it would read the whole table,
  // for ever, where that was small when it was asked.
  const few = `SELECT * FROM ${given(table)} WHERE num_nonnulls(${names.map(quote).join(', ')}) = ${names.length}`;
  return [statement(`${update} ${assignments} FROM (${few}) AS given WHERE ${matches(names)}`, rows)];
};

export const insertRows: BatchStatements['insertRows'] = ({ table, rows }) => {
  const names = columnsOf(rows);
  const columns = names.map(quote).join(', ');
  const insert = `INSERT INTO ${quote(table)} (${columns})`;
  const [row, another] = rows;
  if (row !== undefined && another === undefined) {
    const sql = new SqlText();
    const values = names.map((name) => sql.value(row[name] ?? null)).join(', ');
    return { ...sql.statement(`${insert} VALUES (${values})`), prepared: true };
  }
  return statement(`${insert} SELECT ${columns} FROM ${given(table)}`, rows);
};

function nowIn(nowAs: string | undefined): string {
  return nowAs === undefined ? '' : `, extract(epoch FROM ${NOW}) * 1000 AS ${quote(nowAs)}`;
}

/** Each is a text of its own, and a session keeps them all. */
const MOST_LISTS = 4;

/** A condition: for each value that the columns before the last have, a list of those of the last. Undefined: there are too many. */
function asLists(names: readonly string[], keys: readonly Columns[]): SqlStatement | undefined {
  const last = names.at(-1) as string;
  const before = names.slice(0, -1);
  const lists = new Map<string, { readonly key: Columns; readonly values: SqlValue[] }>();
  for (const key of keys) {
    const value = key[last] ?? null;
    const shared = before.length === 0 ? '' : JSON.stringify(before.map((name) => textOf(key[name] ?? null)));
    const known = lists.get(shared);
    if (known !== undefined) known.values.push(value);
    else if (lists.size === MOST_LISTS) return undefined;
    else lists.set(shared, { key, values: [value] });
  }
  const sql = new SqlText();
  const conditions = [...lists.values()].map(({ key, values }) => {
    const shared = before.map((name) => `own.${quote(name)} = ${sql.value(key[name] ?? null)} AND `).join('');
    return `(${shared}own.${quote(last)} = ANY(${sql.value(arrayOf(values))}))`;
  });
  return sql.statement(conditions.join(' OR '));
}

/** As PostgreSQL writes an array, so that its elements have the type of what they are compared with. */
function arrayOf(values: readonly SqlValue[]): string {
  const elements = values.map((value) => {
    if (typeof value === 'number' || typeof value === 'bigint') return String(value);
    if (value === null) return 'NULL';
    const text = value instanceof Date ? value.toISOString() : String(textOf(value));
    return `"${text.replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${elements.join(',')}}`;
}

function matches(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)} = given.${quote(name)}`).join(' AND ');
}

function list(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)}`).join(', ');
}

function statement(text: string, rows: readonly Columns[]): SqlStatement {
  return { text, values: [JSON.stringify(rows.map(asJson))], prepared: true };
}

/** What JSON has no form for is written as the database writes it. */
function asJson(row: Columns): Readonly<Record<string, unknown>> {
  if (!Object.values(row).some(hasNoJson)) return row;
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, textOf(value)]));
}

function hasNoJson(value: SqlValue): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'bigint' || value instanceof Uint8Array;
}

function textOf(value: SqlValue): unknown {
  if (!hasNoJson(value)) return value;
  return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value);
}
