/** The one that everybody wants. */
export const COUPON = 1;

/** More than any run issues. */
export const PLENTY = 100_000_000;

/** What a request comes to; each row tells every caller one of these, unless it is a limit. */
export const DONE = 'done';
export const ALREADY_ISSUED = 'already-issued';
export const SOLD_OUT = 'sold-out';
