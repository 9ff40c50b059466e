import Type, { type TSchema } from 'typebox';

/** The envelope of every answer, as the published experiment has it. */
export function envelopeOf<Data extends TSchema>(data: Data) {
  return Type.Object(
    {
      success: Type.Literal(true),
      status: Type.Integer(),
      message: Type.String(),
      data,
    },
    { description: 'What was asked for.' },
  );
}

/** What may go wrong with any request, by its code. */
const GENERAL: Problems = {
  'invalid-request': { status: 400 },
  unauthenticated: { status: 401 },
  'token-expired': { status: 401 },
  forbidden: { status: 403 },
  'request-timeout': { status: 408 },
  'body-too-large': { status: 413 },
  'url-too-long': { status: 414 },
  'unsupported-media-type': { status: 415 },
  'lock-timeout': { status: 400 },
  contended: { status: 400 },
  'internal-error': { status: 500 },
  'store-unavailable': { status: 503 },
};

/** Refusals and failures, by their codes. */
export type Problems = Readonly<Record<string, { readonly status: number }>>;

/** The statuses of a refusal or failure, for a route's `response` schema: what may go wrong with any, and with this one. */
export function problemsOf(...own: readonly Problems[]) {
  const all = Object.entries(Object.assign({}, GENERAL, ...own) as Problems);
  const codes = (from: number, to: number) =>
    all.flatMap(([code, { status }]) => (status >= from && status < to ? [code] : [])).toSorted();
  return {
    '4xx': problemSchema('Refused.', codes(400, 500)),
    '5xx': problemSchema('Failed; the message says whether it may have taken effect.', codes(500, 600)),
  };
}

/** A refusal or failure. `code` is for programs, `message` for people. */
function problemSchema(description: string, codes: readonly string[]) {
  return Type.Object(
    {
      success: Type.Literal(false),
      status: Type.Integer(),
      message: Type.String(),
      code: Type.Unsafe<string>({ type: 'string', enum: codes }),
      data: Type.Null(),
    },
    { description },
  );
}

export function success<Data>(data: Data, status = 200, message = 'ok') {
  return { success: true as const, status, message, data };
}

export function problem(status: number, code: string, message: string) {
  return { success: false as const, status, message, code, data: null };
}
