import { attached } from '../columns.ts';
import { StoreError } from '../errors.ts';
import { textBetweenMarks } from '../mysql/sql.ts';
import type { SqlStatement, SqlValue } from '../ports.ts';

/**
 * The statement with its values in its text, for messages of several statements, which take no parameters.
 *
 * Between quotes stand letters and digits of ASCII and a few signs, so that nothing means anything there in any mode of a session: all other
 * text, and bytes, are written in hexadecimal digits. So there is nothing to escape.
 *
 * @param timeZone  In which the driver writes moments: `Z`, `local`, or an offset such as `+09:00`.
 * @throws StoreError  `REJECTED`: a value that cannot be written.
 */
export function withLiterals(statement: SqlStatement, timeZone: string): string {
  const { text, values } = statement;
  const [first, ...others] = textBetweenMarks(statement) ?? [];
  if (first !== undefined) {
    let whole = first;
    for (const [index, part] of others.entries())
      whole += literal(values[index] as SqlValue, timeZone) + part;
    return whole;
  }
  let next = 0;
  const written = text.replace(MARKS, (token) => {
    if (token !== '?') return token;
    const value = values[next++];
    if (value === undefined) throw rejected(`the statement has more marks than its ${values.length} values`);
    return literal(value, timeZone);
  });
  if (next < values.length) throw rejected(`the statement has ${next} marks for ${values.length} values`);
  return written;
}

/** A mark; and, as a whole, quoted text and names, in which a `?` is none. The guards write no comments with any. */
const MARKS = /\?|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`/gs;

/** Text that is the same in quotes in all character sets. */
const PLAIN = /^[A-Za-z0-9 .,:_/+=-]*$/;

function literal(value: SqlValue, timeZone: string): string {
  if (value === null) return 'NULL';
  switch (typeof value) {
    case 'string':
      return PLAIN.test(value) ? `'${value}'` : `_utf8mb4 x'${Buffer.from(value).toString('hex')}'`;
    case 'boolean':
      return value ? 'TRUE' : 'FALSE';
    case 'bigint':
      return number(value);
    case 'number':
      if (!Number.isFinite(value)) throw rejected(`${value} cannot be written into a statement`);
      return number(value);
    default:
      if (value instanceof Date) return moment(value, timeZone);
      if (!(value instanceof Uint8Array))
        throw rejected(`a ${typeof value} cannot be written into a statement`);
      return bytesOf(value);
  }
}

/** Bytes that spell a number or a moment, such as a driver may give of such columns. */
const NUMERIC = /^[\d\s.eE+:-]*$/;
/** More than any number has. */
const LONGEST_NUMBER = 128;

/** Beside a number such digits are a number too, unless it is said that they are bytes: the server takes long for that. */
function bytesOf(value: Uint8Array): string {
  const bytes = Buffer.isBuffer(attached(value))
    ? value
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const isNumeric = bytes.length <= LONGEST_NUMBER && NUMERIC.test(bytes.toString('latin1'));
  return `${isNumeric ? '_binary ' : ''}x'${bytes.toString('hex')}'`;
}

/** In parentheses below zero: two minus signs in a row may begin a comment. */
function number(value: number | bigint): string {
  return value < 0 ? `(${value})` : String(value);
}

/** The last one that was written: the rows of a batch often share theirs. */
let lastMoment = { ms: Number.NaN, timeZone: '', text: '' };

function moment(value: Date, timeZone: string): string {
  const ms = value.getTime();
  if (lastMoment.ms !== ms || lastMoment.timeZone !== timeZone) {
    lastMoment = { ms, timeZone, text: writtenMoment(value, timeZone) };
  }
  return lastMoment.text;
}

function writtenMoment(value: Date, timeZone: string): string {
  const offsetMinutes = offsetOf(value, timeZone);
  const there = new Date(value.getTime() + offsetMinutes * 60_000);
  if (Number.isNaN(there.getTime()))
    throw rejected('a moment that is none cannot be written into a statement');
  // Such as 2024-05-01 12:34:56.789: without a letter, a quote or a zone.
  return `TIMESTAMP'${there.toISOString().slice(0, -1).replace('T', ' ')}'`;
}

function offsetOf(value: Date, timeZone: string): number {
  if (timeZone === 'local') return -value.getTimezoneOffset();
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(timeZone) ?? [];
  const offset = Number(hours ?? 0) * 60 + Number(minutes ?? 0);
  return sign === '-' ? -offset : offset;
}

function rejected(message: string): StoreError {
  return new StoreError('REJECTED', 'none', message);
}
