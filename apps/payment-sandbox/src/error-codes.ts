/** Every code that the sandbox answers, with its status. A code means the same on every route. */
export const errorCodes = {
  ALREADY_PROCESSED_PAYMENT: { status: 400, message: 'The payment was already processed.' },
  PROVIDER_ERROR: { status: 400, message: 'A temporary error occurred. Try again in a moment.' },
  CARD_PROCESSING_ERROR: { status: 400, message: 'The card company reported an error.' },
  INVALID_REQUEST: { status: 400, message: 'The request is invalid.' },
  INVALID_API_KEY: { status: 400, message: 'The API key is invalid.' },
  UNAPPROVED_ORDER_ID: { status: 400, message: 'The order id was not approved.' },
  INVALID_IDEMPOTENCY_KEY: { status: 400, message: 'An idempotency key has at most 300 characters.' },
  INVALID_TRANSACTION_KEY: { status: 400, message: 'No transaction has the key in startingAfter.' },
  NOT_MATCHES_REFUNDABLE_AMOUNT: { status: 400, message: 'The refundable amount does not match.' },
  ALREADY_CANCELED_PAYMENT: { status: 400, message: 'The payment was already canceled.' },
  ALREADY_REFUND_PAYMENT: { status: 400, message: 'The payment was already refunded.' },
  REFUND_REJECTED: { status: 400, message: 'The refund was rejected.' },
  UNAUTHORIZED_KEY: { status: 401, message: 'The secret key is not authorized.' },
  REJECT_CARD_PAYMENT: { status: 403, message: 'The limit or the balance does not cover the payment.' },
  REJECT_CARD_COMPANY: { status: 403, message: 'The card company rejected the payment.' },
  REJECT_ACCOUNT_PAYMENT: { status: 403, message: 'The balance does not cover the payment.' },
  FORBIDDEN_REQUEST: { status: 403, message: 'The request is not allowed.' },
  INCORRECT_BASIC_AUTH_FORMAT: {
    status: 403,
    message: 'Authorization must be Basic, with the secret key followed by a colon in base64.',
  },
  FDS_ERROR: { status: 403, message: 'The payment was stopped as suspicious.' },
  FORBIDDEN_CONSECUTIVE_REQUEST: { status: 403, message: 'Repeated requests are not allowed.' },
  NOT_CANCELABLE_AMOUNT: { status: 403, message: 'The amount is more than can be canceled.' },
  NOT_CANCELABLE_PAYMENT: { status: 403, message: 'The payment cannot be canceled.' },
  EXCEED_MAX_REFUND_DUE: { status: 403, message: 'The time for refunds is over.' },
  NOT_FOUND: { status: 404, message: 'Nothing was found.' },
  NOT_FOUND_PAYMENT: { status: 404, message: 'The payment does not exist.' },
  NOT_FOUND_PAYMENT_SESSION: { status: 404, message: 'The time to pay is over.' },
  IDEMPOTENT_REQUEST_PROCESSING: {
    status: 409,
    message: 'The first request with this idempotency key is being processed.',
  },
  FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING: { status: 500, message: 'The payment system failed.' },
  FAILED_INTERNAL_SYSTEM_PROCESSING: { status: 500, message: 'The internal system failed.' },
  UNKNOWN_PAYMENT_ERROR: { status: 500, message: 'The payment failed for an unknown reason.' },
  FAILED_REFUND_PROCESS: { status: 500, message: 'The refund failed.' },
  FAILED_METHOD_HANDLING_CANCEL: { status: 500, message: 'The payment method failed while canceling.' },
  COMMON_ERROR: { status: 500, message: 'A temporary error occurred.' },
  /** Not the provider's: the error of the published fake gateway, whose table holds each key once. */
  DUPLICATE_PAYMENT_KEY: { status: 500, message: 'The payment key was already captured.' },
  /** Not the provider's: the lab opened a payment window under a key that has one. */
  DUPLICATE_PAYMENT_SESSION: { status: 409, message: 'The payment key already has a session.' },
  /** Not the provider's: the lab gave more fault rules than are kept. */
  TOO_MANY_FAULTS: { status: 409, message: 'There are as many fault rules as are kept. Delete some first.' },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorCode = keyof typeof errorCodes;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}
