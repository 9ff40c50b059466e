/**
 * What a provider's error code says about the payment.
 *
 * Codes decide, never the HTTP status: a 400 may come after the capture, and a 500 before it. `declined` is
 * a closed list; everything else, known or not, leaves the payment unknown.
 */
const DECLINED = new Set([
  'CARD_PROCESSING_ERROR',
  'FDS_ERROR',
  'UNAPPROVED_ORDER_ID',
  'INVALID_REQUEST',
  'NOT_FOUND_PAYMENT',
  'NOT_FOUND_PAYMENT_SESSION',
]);

/** Our credentials or our set-up are wrong. They say nothing about the payment, and need an operator. */
const MISCONFIGURED = new Set([
  'UNAUTHORIZED_KEY',
  'INVALID_API_KEY',
  'FORBIDDEN_REQUEST',
  'INCORRECT_BASIC_AUTH_FORMAT',
]);

export function isDeclined(code: string): boolean {
  return DECLINED.has(code) || code.startsWith('REJECT_');
}

export function isMisconfigured(code: string): boolean {
  return MISCONFIGURED.has(code);
}
