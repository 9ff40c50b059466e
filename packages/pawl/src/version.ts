import { MisuseError } from './errors.ts';

/** A whole number, as the driver gave it: columns of 64 bits arrive as text or as bigint. */
export type Version = number | bigint | string;

/** `7` is a `number` again: the next version is another. */
export type VersionOf<Value extends Version> = Value extends number
  ? number
  : Value extends bigint
    ? bigint
    : string;

/**
 * Bound as a bigint, which the dialects compare with all its digits.
 *
 * @throws MisuseError  It is no whole number, or has lost digits.
 */
export function wholeNumber(column: string, value: Version): bigint {
  if (isWholeNumber(value)) return BigInt(value);
  throw new MisuseError(`the version in ${column} must be a whole number with all its digits, got ${value}`);
}

function isWholeNumber(value: Version): boolean {
  if (typeof value === 'string') return /^-?\d+$/.test(value);
  return typeof value === 'bigint' || Number.isSafeInteger(value);
}

/** `version` in the type of `value`. */
export function inTypeOf<Value extends Version>(value: Value, version: bigint): VersionOf<Value> {
  const as = { number: Number, bigint: BigInt, string: String }[
    typeof value as 'number' | 'bigint' | 'string'
  ];
  return as(version) as VersionOf<Value>;
}
