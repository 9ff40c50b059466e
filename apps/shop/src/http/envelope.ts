import Type, { type TSchema } from 'typebox';

/** The envelope of every answer, as the published experiment has it. */
export function envelopeOf<Data extends TSchema>(data: Data) {
  return Type.Object({
    success: Type.Literal(true),
    status: Type.Integer(),
    message: Type.String(),
    data,
  });
}

/** A refusal or failure. `code` is for programs, `message` for people. */
const problemSchema = Type.Object({
  success: Type.Literal(false),
  status: Type.Integer(),
  message: Type.String(),
  code: Type.String(),
  data: Type.Null(),
});

export function success<Data>(data: Data, status = 200, message = 'ok') {
  return { success: true as const, status, message, data };
}

export function problem(status: number, code: string, message: string) {
  return { success: false as const, status, message, code, data: null };
}

/** The statuses of a refusal or failure, for a route's `response` schema. */
export const problems = { '4xx': problemSchema, '5xx': problemSchema };
