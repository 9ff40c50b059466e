import { BadArgumentsError } from '../commands/arguments.ts';
import type { RaceDefinition } from './define-race.ts';

export const MOST_ROUNDS = 10_000;
const MOST_SECONDS = 600;
export const MOST_FANOUT = 100;

const FUNCTION = { is: (value: unknown) => typeof value === 'function', what: 'a function' };

const whole = (minimum: number, maximum: number) => ({
  is: (value: unknown) => Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum,
  what: `a whole number from ${minimum} to ${maximum}`,
});

const shapes: Record<keyof RaceDefinition<unknown>, { is(value: unknown): boolean; what: string }> = {
  prepare: FUNCTION,
  request: {
    is: (value) => typeof value === 'function' || (isObject(value) && typeof value.url === 'string'),
    what: 'a function, or an object with a url',
  },
  fanout: whole(2, MOST_FANOUT),
  expect: { is: isExpected, what: '{ successes: n } or { atMost: n }, with n from 1' },
  classify: FUNCTION,
  check: {
    is: (value) => typeof value === 'function' || isSqlCheck(value),
    what: 'a function, or { url, sql, expect } with the url of a database',
  },
  rounds: whole(1, MOST_ROUNDS),
  seconds: whole(1, MOST_SECONDS),
  close: FUNCTION,
};

/**
 * What a race file exports, read by its shape: a file that cannot import `defineRace` may export a plain object.
 *
 * @throws BadArgumentsError  It is no race; the message names the file and the field.
 */
export function readDefinition(file: string, exported: unknown): RaceDefinition<unknown> {
  if (!isObject(exported)) {
    throw new BadArgumentsError(
      `${file} does not export a race: it needs "export default defineRace({ … })"`,
    );
  }
  if (exported.request === undefined) throw new BadArgumentsError(`${file}: request is missing`);
  for (const [name, value] of Object.entries(exported)) {
    if (!Object.hasOwn(shapes, name)) {
      throw new BadArgumentsError(
        `${file}: ${name} is not known; a race has ${Object.keys(shapes).join(', ')}`,
      );
    }
    const { is, what } = shapes[name as keyof RaceDefinition<unknown>];
    if (value !== undefined && !is(value)) throw new BadArgumentsError(`${file}: ${name} must be ${what}`);
  }
  return exported as unknown as RaceDefinition<unknown>;
}

function isExpected(value: unknown): boolean {
  if (!isObject(value)) return false;
  const [entry, ...others] = Object.entries(value);
  if (entry === undefined || others.length > 0) return false;
  const [name, count] = entry;
  return (name === 'successes' || name === 'atMost') && Number.isInteger(count) && Number(count) >= 1;
}

function isSqlCheck(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { url, sql, expect } = value;
  return (
    typeof url === 'string' &&
    /^(postgres(ql)?|mysql|mariadb):\/\//.test(url) &&
    (typeof sql === 'string' || typeof sql === 'function') &&
    (typeof expect === 'number' || typeof expect === 'string')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
