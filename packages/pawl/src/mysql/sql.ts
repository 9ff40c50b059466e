import { quoter, requireCondition, wellFormed } from '../columns.ts';
import type { Columns, SqlStatement, SqlValue } from '../ports.ts';

/**
 * In UTC whatever the session's time zone is, and in microseconds. NOW() is another moment in every time zone: of two
 * sessions in two zones, one would find every lease of the other over, or none for hours.
 *
 * It is when the statement began. One that waited for a row compares with a time that has passed and leases from
 * there, which ends nobody's lease too early.
 */
export const NOW = 'UTC_TIMESTAMP(6)';

/** Stands for a parameter until the statement is whole: in what is written for it, a `?` may stand in quotes too. */
const MARK = '\u0001';

/** The text of a statement between its marks, for who writes its values into it. */
const between = new WeakMap<SqlStatement, readonly string[]>();

/** Of a statement that `SqlText` has built. */
export function textBetweenMarks(statement: SqlStatement): readonly string[] | undefined {
  return between.get(statement);
}

/** Builds one statement: text with a mark for each parameter, and their values beside it. */
export class SqlText {
  readonly #values: SqlValue[] = [];

  /** A parameter for `value`. @throws StoreError  `REJECTED`: text with half of a character. */
  value(value: SqlValue): string {
    this.#values.push(typeof value === 'string' ? wellFormed(value) : value);
    return MARK;
  }

  /**
   * The moment that is `ms` milliseconds from now. Written out, as it is a whole number: a driver that sends numbers as
   * DOUBLE leaves it to the server what an INTERVAL makes of it.
   */
  later(ms: number): string {
    return `${NOW} + INTERVAL ${ms * 1_000} MICROSECOND`;
  }

  /** A condition that all columns hold their values. */
  matches(columns: Columns): string {
    requireCondition(columns);
    return Object.entries(columns)
      .map(([column, value]) =>
        value === null ? `${quote(column)} IS NULL` : `${quote(column)} = ${this.#operand(value)}`,
      )
      .join(' AND ');
  }

  /**
   * A bigint is sent as text, which MySQL compares with an integer as DOUBLE, by its manual: 2^53 and 2^53 + 1 are one
   * then. (MariaDB compares the two exactly.) As DECIMAL all digits count, signed and unsigned.
   *
   * @see MySQL, "Type Conversion in Expression Evaluation"
   */
  #operand(value: SqlValue): string {
    const parameter = this.value(value);
    return typeof value === 'bigint' ? `CAST(${parameter} AS DECIMAL(20))` : parameter;
  }

  /** An assignment of all columns. */
  assigns(columns: Columns): string[] {
    return Object.entries(columns).map(([column, value]) => `${quote(column)} = ${this.value(value)}`);
  }

  statement(text: string): SqlStatement {
    const parts = text.split(MARK);
    const statement = { text: parts.join('?'), values: this.#values };
    if (parts.length === this.#values.length + 1) between.set(statement, parts);
    return statement;
  }
}

/**
 * Text as bytes, which are the same whatever the character set of the connection.
 *
 * @throws StoreError  `REJECTED`: half of a character has none.
 */
export function utf8(text: string): Buffer {
  return Buffer.from(wellFormed(text));
}

/** Quotes a name, with its database where it has one. */
export const quote = quoter('`');
