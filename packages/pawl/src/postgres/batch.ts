import { attached, columnsOf, requireChanges } from '../columns.ts';
import { StoreError } from '../errors.ts';
import type { BatchStatements, Columns, ColumnType, ColumnTypes, SqlStatement, SqlValue } from '../ports.ts';
import { listedText, listedValues } from './listed.ts';
import { NOW, quote, SqlText } from './sql.ts';
import { MOST_TEXTS, madeOnce } from './texts.ts';

/**
 * Rows come as one parameter, JSON, and have the types of their table's columns: so the statement is the same for a batch of every size,
 * and is prepared once. Where one list says it, that does, since JSON costs several times as much to read.
 *
 * LATERAL, with what keeps it from being flattened, has one row found after the other, whatever the planner thinks of the size of a
 * parameter: a join might read the whole table. That it is not read whole for each, as may be planned while it is small, the port sees to.
 */
const given = (table: string) => `json_populate_recordset(NULL::${quote(table)}, $1::json)`;

export const lockRows: BatchStatements['lockRows'] = ({ table, keys, columns, wait, nowAs }) => {
  const names = columnsOf(keys);
  const lock = `FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`;
  const its = `SELECT ${list(columns)}${nowIn(nowAs)} FROM ${quote(table)} AS own WHERE`;
  const listed = asList(names, keys);
  // Sorted, and then locked.
  if (listed !== undefined) {
    return { ...listed, text: `${its} ${listed.text} ORDER BY ${list(names)} ${lock}`, prepared: true };
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
  const listed = asList(names, keys);
  if (listed !== undefined) return { ...listed, text: `${its} ${listed.text}`, prepared: true };
  return statement(
    `SELECT own.* FROM ${given(table)} AS given
     CROSS JOIN LATERAL (${its} ${matches(names)} OFFSET 0) AS own`,
    keys,
  );
};

export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set, types }) => {
  requireChanges(keys, set);
  const names = columnsOf(keys);
  const changed = columnsOf(set);
  const update = `UPDATE ${quote(table)} AS own SET`;
  const [key, another] = keys;
  const [values] = set;
  if (key !== undefined && values !== undefined && another === undefined && isPlain({ ...key, ...values })) {
    const sql = new SqlText();
    const statement = sql.statement(`${update} ${sql.assigns(values).join(', ')} WHERE ${sql.matches(key)}`);
    return [{ ...statement, prepared: true }];
  }
  const rows = keys.map((key, index) => ({ ...key, ...set[index] }));
  const { shape, from, values: given } = source(table, rows, types);
  const text = madeOnce(`update ${table} ${names} ${changed} ${shape}`, () => {
    const assignments = changed.map((name) => `${quote(name)} = given.${quote(name)}`).join(', ');
    // No key is NULL: said so, the planner expects few of them, and finds each by itself. For a hundred it might join with the whole table.
    const few = `SELECT * FROM ${from()} WHERE num_nonnulls(${names.map(quote).join(', ')}) = ${names.length}`;
    return `${update} ${assignments} FROM (${few}) AS given WHERE ${matches(names)}`;
  });
  return [{ text, values: given, prepared: true }];
};

export const insertRows: BatchStatements['insertRows'] = ({ table, rows, now = [], types }) => {
  const names = columnsOf(rows);
  const columns = () => names.map(quote).join(', ');
  const insert = () => `INSERT INTO ${quote(table)} (${[columns(), ...now.map(quote)].join(', ')})`;
  const moments = now.map(() => `, ${NOW}`).join('');
  const [row, another] = rows;
  if (row !== undefined && another === undefined && isPlain(row)) {
    const sql = new SqlText();
    const values = names.map((name) => sql.value(row[name] ?? null)).join(', ');
    return { ...sql.statement(`${insert()} VALUES (${values}${moments})`), prepared: true };
  }
  const { shape, from, values } = source(table, rows, types);
  const text = madeOnce(
    `insert ${table} ${names} ${now} ${shape}`,
    () => `${insert()} SELECT ${columns()}${moments} FROM ${from()}`,
  );
  return { text, values, prepared: true };
};

function nowIn(nowAs: string | undefined): string {
  return nowAs === undefined ? '' : `, extract(epoch FROM ${NOW}) * 1000 AS ${quote(nowAs)}`;
}

/**
 * A condition: those values of the last column, where all have the same in the columns before it. Undefined: they have not. (One list OR
 * another is planned for a small table as to look through all that an index has.)
 */
function asList(names: readonly string[], keys: readonly Columns[]): SqlStatement | undefined {
  const last = names.at(-1) as string;
  const before = names.slice(0, -1);
  const [first] = keys as readonly [Columns];
  const shared = (key: Columns) => before.map((name) => jsonOf(key[name] ?? null)).join();
  const its = before.length === 0 ? '' : shared(first);
  if (before.length > 0 && keys.some((key) => shared(key) !== its)) return undefined;
  const sql = new SqlText();
  const condition = before
    .map((name) => `own.${quote(name)} = ${sql.value(first[name] ?? null)} AND `)
    .join('');
  const values = keys.map((key) => key[last] ?? null);
  // One by itself is not planned anew each time, which costs as much as the rest.
  const those =
    values.length === 1 ? `= ${sql.value(values[0] ?? null)}` : `= ANY(${sql.value(arrayOf(values))})`;
  return sql.statement(`${condition}own.${quote(last)} ${those}`);
}

/** As PostgreSQL writes an array, so that its elements have the type of what they are compared with. */
function arrayOf(values: readonly SqlValue[]): string {
  let elements = '';
  for (const value of values) elements += elements === '' ? elementOf(value) : `,${elementOf(value)}`;
  return `{${elements}}`;
}

function elementOf(value: SqlValue): string {
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) return `"\\\\x${hexadecimal(value)}"`;
  const text = textOf(value);
  return SPECIAL.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : `"${text}"`;
}

const SPECIAL = /["\\]/;

function matches(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)} = given.${quote(name)}`).join(' AND ');
}

function list(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)}`).join(', ');
}

/**
 * Whether the row is stored alike as parameters and as JSON. Text is not: in a column of type `jsonb` it would be JSON in the one and a
 * text in the other, and what is stored must not depend on who else has come.
 */
function isPlain(row: Columns): boolean {
  return Object.values(row).every(
    (value) => value === null || /^(number|bigint|boolean)$/.test(typeof value),
  );
}

/** Where rows come from, in a FROM. */
function source(
  table: string,
  rows: readonly Columns[],
  types: ColumnTypes | undefined,
): { readonly shape: string; readonly from: () => string; readonly values: readonly SqlValue[] } {
  const names = columnsOf(rows);
  const typed = types && typedColumns(names, types);
  if (typed === undefined) {
    return { shape: 'json', from: () => given(table), values: [jsonList(names, rows)] };
  }
  const { columns, name } = typed;
  return {
    shape: rows.length === 1 ? `one ${name}` : name,
    from: () => listedText(columns, rows.length),
    values: listedValues(columns, rows),
  };
}

interface Typed {
  readonly columns: readonly (readonly [name: string, type: ColumnType])[];
  /** Of the columns with their types, apart from all others'. */
  readonly name: string;
}

/** By the types that a program gives each time, and the names. */
const known = new WeakMap<ColumnTypes, Map<string, Typed | undefined>>();

/** @returns undefined: of one of them no type is given. */
function typedColumns(names: readonly string[], types: ColumnTypes): Typed | undefined {
  const ofTypes = known.get(types) ?? new Map<string, Typed | undefined>();
  const key = JSON.stringify(names);
  if (ofTypes.has(key)) return ofTypes.get(key);
  const columns: [string, ColumnType][] = [];
  for (const name of names) {
    const type = types[name];
    if (type !== undefined) columns.push([name, type]);
  }
  const typed = columns.length < names.length ? undefined : { columns, name: String(columns) };
  if (ofTypes.size < MOST_TEXTS) known.set(types, ofTypes.set(key, typed));
  return typed;
}

function statement(text: string, rows: readonly Columns[]): SqlStatement {
  return { text, values: [jsonList(columnsOf(rows), rows)], prepared: true };
}

/** By hand, since all rows have the same columns. */
function jsonList(columns: readonly string[], rows: readonly Columns[]): string {
  const names = columns.map((name) => ({ name, json: `${JSON.stringify(name)}:` }));
  const objects = rows.map((row) => {
    const members = names.map(({ name, json }) => json + jsonOf(row[name] ?? null));
    return `{${members.join(',')}}`;
  });
  return `[${objects.join(',')}]`;
}

function jsonOf(value: SqlValue): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)))
    return String(value);
  return JSON.stringify(textOf(value));
}

/** As the driver writes it. */
function textOf(value: SqlValue): string {
  if (value instanceof Date) return momentOf(value);
  return value instanceof Uint8Array ? `\\x${hexadecimal(value)}` : String(value);
}

function hexadecimal(bytes: Uint8Array): string {
  return (Buffer.isBuffer(attached(bytes)) ? bytes : Buffer.from(bytes)).toString('hex');
}

/** The last one that was written: the rows of a batch often share theirs. */
let lastMoment = { ms: Number.NaN, text: '' };

/** As the driver writes it by default: by the clock of this process, with its offset, so that in a column without a time zone its face is stored. */
export function momentOf(value: Date): string {
  const ms = value.getTime();
  if (Number.isNaN(ms)) throw new StoreError('REJECTED', 'none', 'a moment that is none cannot be stored');
  if (lastMoment.ms !== ms) lastMoment = { ms, text: writtenMoment(value) };
  return lastMoment.text;
}

/** The last moment that a Date can be. */
const LAST_MS = 8.64e15;

function writtenMoment(value: Date): string {
  const local = -value.getTimezoneOffset();
  // A day from the end of all time its face in UTC is the only one that there is.
  const offset = Math.abs(value.getTime() + local * 60_000) > LAST_MS ? 0 : local;
  const there = new Date(value.getTime() + offset * 60_000);
  const year = there.getUTCFullYear();
  const digits = (part: number, count: number) => String(Math.floor(part)).padStart(count, '0');
  // Such as -05-01T12:34:56.789.
  const face = `${digits(year > 0 ? year : 1 - year, 4)}${there.toISOString().slice(-20, -1)}`;
  const [sign, ahead] = [offset < 0 ? '-' : '+', Math.abs(offset)];
  return `${face}${sign}${digits(ahead / 60, 2)}:${digits(ahead % 60, 2)}${year > 0 ? '' : ' BC'}`;
}
