import { MisuseError, StoreError } from './errors.ts';
import type { Columns } from './ports.ts';

/** The key's columns and the others'. One column twice would address another row, or claim another key. */
export function merge(key: Columns, others: Columns): Columns {
  for (const column of Object.keys(others)) {
    if (column in key) throw new MisuseError(`${column} is part of the key, and cannot be given twice`);
  }
  return { ...key, ...others };
}

/** The parts of a plain name, its schema first where it has one; each still to be quoted. */
export function nameParts(name: string): readonly string[] {
  const parts = name.split('.');
  for (const part of parts) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) {
      throw new MisuseError(`not a name of a table or column: ${name}`);
    }
  }
  return parts;
}

/** The names of a program are few; whoever makes up others costs no more than time. */
const MOST_QUOTED = 1_000;

/** Puts every part of a plain name in `mark`s. Those that have been asked for are known: each statement of a batch names the same. */
export function quoter(mark: string): (name: string) => string {
  const quoted = new Map<string, string>();
  return (name) => {
    const known = quoted.get(name);
    if (known !== undefined) return known;
    const parts = nameParts(name).map((part) => mark + part + mark);
    const whole = parts.join('.');
    if (quoted.size < MOST_QUOTED) quoted.set(name, whole);
    return whole;
  };
}

/** A guard without a condition would take any row for the one that it guards. */
export function requireCondition(columns: Columns): void {
  if (Object.keys(columns).length === 0) {
    throw new MisuseError('a guard needs at least one column that names the row');
  }
}

/**
 * Text that can be stored.
 *
 * @throws StoreError  `REJECTED`: half of a character has no bytes. Two texts that differ would be stored as one.
 */
export function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new StoreError('REJECTED', 'none', 'text with half of a character');
  return text;
}

/**
 * Bytes that can be stored.
 *
 * @throws StoreError  `REJECTED`: somebody has been given their memory (`postMessage`, `transfer`). They would be stored as none at all.
 */
export function attached<Bytes extends ArrayBufferView>(bytes: Bytes): Bytes {
  const { buffer } = bytes;
  if ('detached' in buffer && buffer.detached)
    throw new StoreError('REJECTED', 'none', 'bytes that are gone');
  return bytes;
}

/** The columns that all of the rows have. There is at least one row. */
export function columnsOf(rows: readonly Columns[]): readonly string[] {
  const [first = {}] = rows;
  const columns = Object.keys(first);
  requireCondition(first);
  if (rows.length <= 1) return columns;
  for (const row of rows) {
    const same = Object.keys(row).length === columns.length && columns.every((column) => column in row);
    if (!same) throw new MisuseError(`rows of one batch must have the same columns: ${columns.join(', ')}`);
  }
  return columns;
}

/** What a row is set to must not depend on the order in which a server looks at keys, and at columns. */
export function requireChanges(keys: readonly Columns[], set: readonly Columns[]): void {
  merge(keys[0] ?? {}, set[0] ?? {});
  if (keys.length <= 1) return;
  const distinct = new Set(keys.map((key) => JSON.stringify(Object.values(key).map(String))));
  if (distinct.size < keys.length) throw new MisuseError('a row comes twice among those that are set');
}

/** Of rows to lock or to delete at once. */
export function requireLimit(limit: number): void {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw new MisuseError(`limit must be a whole number ≥ 1, got ${limit}`);
  }
}
