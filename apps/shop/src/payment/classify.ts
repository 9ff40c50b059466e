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

const NO_ANSWER_TO_IT = new Set([
  'IDEMPOTENT_REQUEST_PROCESSING',
  'ALREADY_PROCESSING_REQUEST',
  'UNREADABLE_ANSWER',
]);

export function isDeclined(code: string): boolean {
  return DECLINED.has(code) || code.startsWith('REJECT_');
}

export function isMisconfigured(code: string): boolean {
  return MISCONFIGURED.has(code);
}

/** The provider knows nothing of the payment that was looked up. */
export function isNotFound(code: string): boolean {
  return code === 'NOT_FOUND' || code === 'NOT_FOUND_PAYMENT';
}

/**
 * What is no answer to the request itself: another one of it is still at work, it was refused at the door, or what came back was
 * not the provider's word.
 */
export function saysNothing(code: string): boolean {
  return isMisconfigured(code) || NO_ANSWER_TO_IT.has(code);
}
