import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { type ErrorCode, errorCodes } from './error-codes.ts';

/** What goes back over the wire, and, under an idempotency key, into the ledger: the very bytes. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export const ErrorBody = Type.Object({ code: Type.String(), message: Type.String() });

export function success(value: unknown): Answer {
  return { status: 200, body: JSON.stringify(value) };
}

/** @param message  Says more than the code's own text. */
export function refusal(code: ErrorCode, message: string = errorCodes[code].message): Answer {
  return { status: errorCodes[code].status, body: JSON.stringify({ code, message }) };
}

/** What a request gets that the server refused before a handler saw it, or that failed in one. */
export function answerToError(error: Error & { statusCode?: number }): Answer {
  const { statusCode: status = 500 } = error;
  return status < 500
    ? { ...refusal('INVALID_REQUEST', error.message), status }
    : refusal('FAILED_INTERNAL_SYSTEM_PROCESSING');
}

/** Sends the answer's own bytes: no serializer may touch what a replay must repeat. */
export async function send(reply: FastifyReply, { status, body }: Answer): Promise<void> {
  await reply.code(status).type('application/json; charset=utf-8').send(body);
}

/** The answer that the header `TossPayments-Test-Code` asks for. */
export function testAnswer(testCode: string): Answer {
  return Object.hasOwn(errorCodes, testCode)
    ? refusal(testCode as ErrorCode)
    : refusal('INVALID_REQUEST', `TossPayments-Test-Code names no known code: ${testCode}`);
}
