import { Type } from 'typebox';

/** A payment key, as the payment window hands it out. Its alphabet needs no escaping in a URL. */
export const PaymentKey = Type.String({ pattern: '^[A-Za-z0-9_-]{1,200}$' });
export const OrderId = Type.String({ pattern: '^[A-Za-z0-9_-]{6,64}$' });
/** Won, which has no minor unit. Beyond the safe integers JSON no longer says which number was meant. */
export const Amount = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const CURRENCY = 'KRW';
