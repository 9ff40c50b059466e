/** What data must look like. `Value` is what it is then known to be. */
export interface Shape<Value> {
  /** @throws ShapeError  Names the first place that does not fit. */
  check(value: unknown, place: string): void;
  readonly of?: Value;
}

/** Data from outside does not have the shape that it must have. Nothing of it was used. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  readonly code = 'BAD_SHAPE';
}

function shape<Value>(what: string, fits: (value: unknown) => boolean): Shape<Value> {
  return {
    check(value, place) {
      if (!fits(value)) throw new ShapeError(`${place} must be ${what}, got ${excerpt(value)}`);
    },
  };
}

export const text = shape<string>('text', (value) => typeof value === 'string');
export const flag = shape<boolean>('true or false', (value) => typeof value === 'boolean');
/** JSON can hold numbers that are too big for one. */
export const number = shape<number>('a number', Number.isFinite);
export const amount = shape<number>(
  'a number of at least 0',
  (value) => Number.isFinite(value) && Number(value) >= 0,
);
export const time = shape<string>(
  'a time (ISO 8601)',
  (value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(Date.parse(value)),
);

export function oneOf<const Value extends string>(...values: readonly Value[]): Shape<Value> {
  return shape(`one of ${values.join(', ')}`, (value) => values.some((one) => one === value));
}

export function nullable<Value>(inner: Shape<Value>): Shape<Value | null> {
  return { check: (value, place) => value === null || inner.check(value, place) };
}

/** It may be missing. */
export function absent<Value>(inner: Shape<Value>): Shape<Value> {
  return { check: (value, place) => value === undefined || inner.check(value, place) };
}

export function list<Value>(inner: Shape<Value>): Shape<readonly Value[]> & Shape<Value[]> {
  return {
    check(value, place) {
      if (!Array.isArray(value)) throw new ShapeError(`${place} must be a list, got ${excerpt(value)}`);
      for (const [index, one] of value.entries()) inner.check(one, `${place}[${index}]`);
    },
  };
}

/** An object whose names are data. */
export function record<Value>(inner: Shape<Value>): Shape<Record<string, Value>> {
  return {
    check(value, place) {
      for (const [name, one] of Object.entries(objectAt(value, place))) inner.check(one, `${place}.${name}`);
    },
  };
}

/** What else there is, is not looked at: a later version may say more. */
export function object<Value>(
  fields: {
    readonly [Name in keyof Value]-?: Shape<Exclude<Value[Name], undefined>>;
  },
): Shape<Value> {
  return {
    check(value, place) {
      const found = objectAt(value, place);
      for (const name of Object.keys(fields) as (keyof Value & string)[]) {
        fields[name].check(found[name], `${place}.${name}`);
      }
    },
  };
}

function objectAt(value: unknown, place: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new ShapeError(`${place} must be an object, got ${excerpt(value)}`);
}

const EXCERPT_LENGTH = 60;

function excerpt(value: unknown): string {
  const json = value === undefined ? 'nothing' : JSON.stringify(value);
  return json.length <= EXCERPT_LENGTH ? json : `${json.slice(0, EXCERPT_LENGTH)}…`;
}
