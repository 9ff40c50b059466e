import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { type ErrorCode, errorCodes, isErrorCode } from './error-codes.ts';

/** What goes back over the wire, and, under an idempotency key, into the ledger: the very bytes. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export const JSON_TYPE = 'application/json; charset=utf-8';
export const ErrorBody = Type.Object({ code: Type.String(), message: Type.String() });

export function success(value: unknown): Answer {
  return { status: 200, body: JSON.stringify(value) };
}

/** @param message  Says more than the code's own text. */
export function refusal(code: ErrorCode, message: string = errorCodes[code].message): Answer {
  return { status: errorCodes[code].status, body: JSON.stringify({ code, message }) };
}

/** A request for the provider's API came without the secret key. Nothing of its body was read. */
export class KeyRefusedError extends Error {
  override readonly name = 'KeyRefusedError';
  readonly code = 'KEY_REFUSED';
  readonly answer: Answer;

  constructor(answer: Answer) {
    super('The secret key is missing or wrong.');
    this.answer = answer;
  }
}

/** What a request gets that the server refused before a handler saw it, or that failed in one. */
export function answerToError(error: Error & { statusCode?: number }): Answer {
  if (error instanceof KeyRefusedError) return error.answer;
  const { statusCode: status = 500 } = error;
  return status < 500
    ? { ...refusal('INVALID_REQUEST', error.message), status }
    : refusal('FAILED_INTERNAL_SYSTEM_PROCESSING');
}

/**
 * Sends the answer's own bytes: no serializer may touch what a replay must repeat.
 * @param bytes  Go in their place.
 */
export async function send(
  reply: FastifyReply,
  { status, body }: Answer,
  bytes: string | Buffer = body,
): Promise<void> {
  await reply.code(status).type(JSON_TYPE).send(bytes);
}

/** The answer that the header `TossPayments-Test-Code` asks for. */
export function testAnswer(testCode: string): Answer {
  return isErrorCode(testCode)
    ? refusal(testCode)
    : refusal('INVALID_REQUEST', `TossPayments-Test-Code names no known code: ${testCode}`);
}
