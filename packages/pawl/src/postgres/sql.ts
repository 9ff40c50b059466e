import { quoter, requireCondition, wellFormed } from '../columns.ts';
import type { Columns, SqlStatement, SqlValue } from '../ports.ts';

/** The clock itself, and not `now()`: that is when the transaction began. */
export const NOW = 'clock_timestamp()';

/** Builds one statement: text with numbered parameters, and their values beside it. */
export class SqlText {
  readonly #values: SqlValue[] = [];

  /** A parameter for `value`. @throws StoreError  `REJECTED`: text with half of a character. */
  value(value: SqlValue): string {
    this.#values.push(typeof value === 'string' ? wellFormed(value) : value);
    return `$${this.#values.length}`;
  }

  /** The moment that is `ms` milliseconds from now. */
  later(ms: number): string {
    return `${NOW} + ${this.value(ms)}::double precision * interval '1 millisecond'`;
  }

  /** A condition that all columns hold their values. */
  matches(columns: Columns): string {
    requireCondition(columns);
    return Object.entries(columns)
      .map(([column, value]) =>
        value === null ? `${quote(column)} IS NULL` : `${quote(column)} = ${this.value(value)}`,
      )
      .join(' AND ');
  }

  /** An assignment of all columns. */
  assigns(columns: Columns): string[] {
    return Object.entries(columns).map(([column, value]) => `${quote(column)} = ${this.value(value)}`);
  }

  statement(text: string): SqlStatement {
    return { text, values: this.#values };
  }
}

/** Quotes a name, with its schema where it has one. */
export const quote = quoter('"');
