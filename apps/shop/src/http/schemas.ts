import Type from 'typebox';

/** The provider's rule for order ids. */
export const orderIdSchema = Type.String({ pattern: '^[A-Za-z0-9_-]{6,64}$' });

/** The provider's length, and printable ASCII: what is neither must not reach a column, a log or a header. */
export const paymentKeySchema = Type.String({ pattern: '^[\\x21-\\x7e]{1,200}$' });

/** Ids stay whole numbers that JavaScript can hold: 9007199254740993 would silently become another one. */
export const idSchema = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

/** In won. */
export const amountSchema = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
