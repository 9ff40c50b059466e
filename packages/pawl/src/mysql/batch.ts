import { columnsOf, requireChanges } from '../columns.ts';
import type { BatchStatements, Columns, SqlStatement, SqlValue } from '../ports.ts';
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

export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set }) => {
  requireChanges(keys, set);
  const areChosen = columnsOf(set).every((name) => isAlike(set, name) || canBeChosen(set, name));
  const changes = areChosen ? [{ keys, set }] : setAlike(keys, set);
  return changes.flatMap((change) => updatesOf(table, change));
};

/** Rows, and what they are set to, of the same length. */
interface Change {
  readonly keys: readonly Columns[];
  readonly set: readonly Columns[];
}

/** A row finds what it is set to by looking through those of all in its statement, so these are not too many. */
const MOST_CHOICES = 64;

/**
 * Rows that are set to different values choose theirs by their keys, which are compared as in the condition of a statement for one.
 *
 * @param more  Assignments that are the same for all.
 */
export function updatesOf(
  table: string,
  { keys, set }: Change,
  more: (sql: SqlText) => readonly string[] = () => [],
): readonly SqlStatement[] {
  const names = columnsOf(set);
  const alike = names.filter((name) => isAlike(set, name));
  const size = alike.length === names.length ? keys.length : MOST_CHOICES;
  const statements: SqlStatement[] = [];
  for (let first = 0; first < keys.length; first += size) {
    const sql = new SqlText();
    const part = { keys: keys.slice(first, first + size), set: set.slice(first, first + size) };
    const assignments = names.map((name) =>
      alike.includes(name) ? assigned(sql, name, part.set[0]) : chosen(sql, name, part),
    );
    const whole = [...assignments, ...more(sql)].join(', ');
    statements.push(sql.statement(`UPDATE ${quote(table)} SET ${whole} WHERE ${anyOf(sql, part.keys)}`));
  }
  return statements;
}

function assigned(sql: SqlText, name: string, values: Columns | undefined): string {
  return `${quote(name)} = ${sql.value(values?.[name] ?? null)}`;
}

function chosen(sql: SqlText, name: string, { keys, set }: Change): string {
  const telling = columnsOf(keys).filter((column) => keys.length === 1 || !isAlike(keys, column));
  const choices = keys.map((key, index) => {
    const condition = sql.matches(Object.fromEntries(telling.map((column) => [column, key[column] ?? null])));
    return `WHEN ${condition} THEN ${sql.value(set[index]?.[name] ?? null)}`;
  });
  return `${quote(name)} = CASE ${choices.join(' ')} END`;
}

function isAlike(rows: readonly Columns[], name: string): boolean {
  const text = typedText(rows[0]?.[name] ?? null);
  return rows.every((row) => typedText(row[name] ?? null) === text);
}

/** What a column is set to must not depend on who else has come: of values of several types the server makes one type, and of fractions. */
function canBeChosen(rows: readonly Columns[], name: string): boolean {
  const types = new Set(rows.map((row) => typeOf(row[name] ?? null)));
  types.delete('nothing');
  return types.size === 1 && !types.has('other');
}

function typeOf(value: SqlValue): string {
  if (value === null) return 'nothing';
  if (value instanceof Date) return 'moment';
  if (typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value))
    return typeof value;
  return 'other';
}

/** For each that are set alike, their keys. */
function setAlike(keys: readonly Columns[], set: readonly Columns[]): readonly Change[] {
  const alike = Map.groupBy(keys.keys(), (index) =>
    JSON.stringify(Object.values(set[index] as Columns).map(typedText)),
  );
  return [...alike.values()].map((indices) => ({
    keys: indices.map((index) => keys[index] as Columns),
    set: indices.map((index) => set[index] as Columns),
  }));
}

export const insertRows: BatchStatements['insertRows'] = ({ table, rows, now = [] }) => {
  const sql = new SqlText();
  const names = columnsOf(rows);
  // By the session's clock, as a statement that is written by hand would have it.
  const moments = now.map(() => 'CURRENT_TIMESTAMP(6)');
  const values = rows.map(
    (row) => `(${[...names.map((name) => sql.value(row[name] ?? null)), ...moments].join(', ')})`,
  );
  const columns = [...names, ...now].map(quote).join(', ');
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
export function anyOf(sql: SqlText, keys: readonly Columns[]): string {
  const names = columnsOf(keys);
  const last = names.at(-1) as string;
  const before = names.slice(0, -1);
  const groups = Map.groupBy(keys, (key) =>
    JSON.stringify(before.map((name) => typedText(key[name] ?? null))),
  );
  const conditions = [...groups.values()].map((group) => {
    // In the order of their marks.
    const { [last]: _, ...shared } = group[0] as Columns;
    const its = names.length === 1 ? '' : `${sql.matches(shared)} AND `;
    const list = group.map((key) => sql.value(key[last] ?? null)).join(', ');
    return `(${its}${quote(last)} IN (${list}))`;
  });
  return conditions.join(' OR ');
}

/** Different for what is stored differently. */
function typedText(value: SqlValue): string {
  if (typeof value === 'string') return `string ${value}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (value instanceof Date) return `moment ${value.getTime()}`;
  return `${typeof value} ${value}`;
}
