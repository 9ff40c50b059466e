import Type from 'typebox';

/** The provider's rule for order ids. */
export const orderIdSchema = Type.String({ pattern: '^[A-Za-z0-9_-]{6,64}$' });

/** The provider's length, and printable ASCII: what is neither must not reach a column, a log or a header. */
export const paymentKeySchema = Type.String({ pattern: '^[\\x21-\\x7e]{1,200}$' });

/** Ids stay whole numbers that JavaScript can hold: 9007199254740993 would silently become another one. */
export const idSchema = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** In won. */
export const amountSchema = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** An id in an address. */
export const idTextSchema = Type.String({ pattern: '^[1-9][0-9]{0,14}$' });

export const uuidSchema = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
});

/** One of these names. A client who sends another is told them, which a union of literals does not do. */
export function oneOf<Name extends string>(names: readonly Name[]) {
  return Type.Unsafe<Name>(Type.String({ pattern: `^(${names.join('|')})$` }));
}

/** How much of a list is wanted: 1 to 500. */
export const limitSchema = Type.String({ pattern: '^([1-9][0-9]?|[1-4][0-9]{2}|500)$' });
const DEFAULT_LIMIT = 100;

export function limitOf(text: string | undefined): number {
  return text === undefined ? DEFAULT_LIMIT : Number(text);
}
