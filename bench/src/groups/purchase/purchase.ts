/** What a purchase costs. */
export const AMOUNT = 5_000;

export const paymentKeyOf = (order: number): string => `payment-key-${order}`;

/** What a request comes to. */
export const DONE = 'done';
/** The order is paid, or being paid, by another request. */
export const DUPLICATE = 'duplicate';
export const IN_PROGRESS = 'in-progress';
export const CHARGED_TWICE = 'charged twice';
