import { attached, wellFormed } from '../columns.ts';
import { StoreError } from '../errors.ts';
import type { Columns, ColumnType, SqlStatement, SqlValue } from '../ports.ts';
import { quote } from './sql.ts';

/** Their numbers in the catalogue: values are sent as the server keeps them. */
const TYPES: Readonly<Record<ColumnType, number>> = {
  text: 25,
  bytea: 17,
  integer: 23,
  bigint: 20,
  'double precision': 701,
  uuid: 2950,
  timestamptz: 1184,
};

/**
 * Rows whose types are known, as a list of each of their columns: the statement is the same for every number of them, and is prepared once.
 *
 * The lists are sent in the binary format, which the server reads in a tenth of the time of the text of an array. One row by itself is no
 * list: the planner would think of ten, and then plan each time anew, which costs as much as the rest.
 *
 * @throws StoreError  `REJECTED`: a value that its type does not hold.
 * @see PostgreSQL's source, `array_recv`
 */
export function listed(
  types: Readonly<Record<string, ColumnType>>,
  rows: readonly Columns[],
): Pick<SqlStatement, 'text' | 'values'> {
  const columns = Object.entries(types);
  return { text: listedText(columns, rows.length), values: listedValues(columns, rows) };
}

type TypedColumns = readonly (readonly [name: string, type: ColumnType])[];

/** What goes in a FROM, for so many rows: for one, and for any other number. */
export function listedText(columns: TypedColumns, rows: number): string {
  const names = columns.map(([name]) => quote(name)).join(', ');
  const parameters = columns.map(([, type], index) => `$${index + 1}::${type}${rows === 1 ? '' : '[]'}`);
  const given = rows === 1 ? `(VALUES (${parameters.join(', ')}))` : `unnest(${parameters.join(', ')})`;
  return `${given} AS given (${names})`;
}

/** @throws StoreError  As `listed`. */
export function listedValues(columns: TypedColumns, rows: readonly Columns[]): readonly SqlValue[] {
  const [row, another] = rows;
  if (row === undefined || another !== undefined) {
    return columns.map(([name, type]) =>
      binaryArray(
        type,
        rows.map((row) => row[name] ?? null),
      ),
    );
  }
  return columns.map(([name, type]) => {
    const value = row[name] ?? null;
    if (value !== null) sizeOf(type, value);
    return value;
  });
}

/** Dimensions, whether there are NULLs, the type; and of the one dimension its length and where it begins. */
const HEADER_BYTES = 20;
const LENGTH_BYTES = 4;
/** In place of the length of an element. */
const NULL_LENGTH = -1;

function binaryArray(type: ColumnType, values: readonly SqlValue[]): Buffer {
  const sizes = values.map((value) => (value === null ? 0 : sizeOf(type, value)));
  const bytes = sizes.reduce((sum, size) => sum + LENGTH_BYTES + size, HEADER_BYTES);
  const array = Buffer.allocUnsafe(bytes);
  array.writeInt32BE(1, 0); // No batch is empty, or there would be no dimension.
  array.writeInt32BE(values.includes(null) ? 1 : 0, 4);
  array.writeInt32BE(TYPES[type], 8);
  array.writeInt32BE(values.length, 12);
  array.writeInt32BE(1, 16);
  let at = HEADER_BYTES;
  for (const [index, value] of values.entries()) {
    const size = sizes[index] as number;
    array.writeInt32BE(value === null ? NULL_LENGTH : size, at);
    at += LENGTH_BYTES;
    if (value !== null) write(array, at, type, value);
    at += size;
  }
  return array;
}

/** @throws StoreError  `REJECTED` */
function sizeOf(type: ColumnType, value: NonNullable<SqlValue>): number {
  switch (type) {
    case 'integer':
      if (typeof value === 'number' && value === (value | 0)) return 4;
      break;
    case 'bigint':
      if (typeof value === 'bigint' ? value === BigInt.asIntN(64, value) : Number.isSafeInteger(value))
        return 8;
      break;
    case 'double precision':
      if (typeof value === 'number') return 8;
      break;
    case 'timestamptz':
      if (value instanceof Date && !Number.isNaN(value.getTime())) return 8;
      break;
    case 'bytea':
      if (value instanceof Uint8Array) return attached(value).byteLength;
      break;
    case 'uuid':
      if (typeof value === 'string' && isUuid(value)) return 16;
      break;
    case 'text':
      if (typeof value === 'string') return Buffer.byteLength(wellFormed(value));
  }
  throw unfit(type);
}

/** From when on the server counts, in microseconds. */
const EPOCH_MS = Date.UTC(2000, 0, 1);

/** What `sizeOf` has found to be of its type. */
function write(array: Buffer, at: number, type: ColumnType, value: NonNullable<SqlValue>): void {
  if (type === 'uuid') writeUuid(array, at, String(value));
  else if (typeof value === 'string') array.write(value, at);
  else if (value instanceof Uint8Array) array.set(value, at);
  else if (value instanceof Date) array.writeBigInt64BE(BigInt(value.getTime() - EPOCH_MS) * 1_000n, at);
  else if (type === 'integer') array.writeInt32BE(Number(value), at);
  else if (type === 'bigint') array.writeBigInt64BE(BigInt(value as number | bigint), at);
  else array.writeDoubleBE(Number(value), at);
}

/** By the code of a digit; 16: it is none. */
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const digit = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(digit) ? 16 : digit;
});

const digitAt = (text: string, index: number): number => DIGITS[text.charCodeAt(index)] ?? 16;

/** As the server writes one. Digit by digit: a regular expression, and what reads hexadecimal text, take longer. */
function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let index = 0; index < 36; index++) {
    const isFit = isHyphen(index) ? text[index] === '-' : digitAt(text, index) < 16;
    if (!isFit) return false;
  }
  return true;
}

function writeUuid(array: Buffer, at: number, text: string): void {
  let to = at;
  for (let index = 0; index < 36; index += 2) {
    if (isHyphen(index)) index++;
    array[to++] = (digitAt(text, index) << 4) | digitAt(text, index + 1);
  }
}

function isHyphen(index: number): boolean {
  return index === 8 || index === 13 || index === 18 || index === 23;
}

function unfit(type: ColumnType): StoreError {
  return new StoreError('REJECTED', 'none', `a value that is no ${type}`);
}
