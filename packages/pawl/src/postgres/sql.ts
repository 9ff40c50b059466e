import { MisuseError } from '../errors.ts';
import type { Columns, SqlStatement, SqlValue } from '../ports.ts';

/** Builds one statement: text with numbered parameters, and their values beside it. */
export class SqlText {
  readonly #values: SqlValue[] = [];

  /** A parameter for `value`. */
  value(value: SqlValue): string {
    this.#values.push(value);
    return `$${this.#values.length}`;
  }

  /** A condition that all columns hold their values. */
  matches(columns: Columns): string {
    const conditions = Object.entries(columns).map(([column, value]) =>
      value === null ? `${quote(column)} IS NULL` : `${quote(column)} = ${this.value(value)}`,
    );
    if (conditions.length === 0)
      throw new MisuseError('a guard needs at least one column that names the row');
    return conditions.join(' AND ');
  }

  /** An assignment of all columns. */
  assigns(columns: Columns): string[] {
    return Object.entries(columns).map(([column, value]) => `${quote(column)} = ${this.value(value)}`);
  }

  statement(text: string): SqlStatement {
    return { text, values: this.#values };
  }
}

/** The key's columns and the others'. One column twice would address another row, or claim another key. */
export function merge(key: Columns, others: Columns): Columns {
  for (const column of Object.keys(others)) {
    if (column in key) throw new MisuseError(`${column} is part of the key, and cannot be given twice`);
  }
  return { ...key, ...others };
}

/** Quotes a name, with its schema where it has one. */
export function quote(name: string): string {
  const parts = name.split('.');
  for (const part of parts) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(part))
      throw new MisuseError(`not a name of a table or column: ${name}`);
  }
  return parts.map((part) => `"${part}"`).join('.');
}
