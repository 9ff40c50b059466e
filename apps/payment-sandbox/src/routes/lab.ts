import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { StrictServer } from '@pawl/service-kit';
import { Type } from 'typebox';
import { ErrorBody } from '../answer.ts';
import type { Book } from '../book.ts';
import { errorCodes } from '../error-codes.ts';
import { Amount, OrderId, PaymentKey } from '../fields.ts';
import type { Ledger } from '../ledger.ts';
import { openSession } from '../session.ts';

const MAX_SESSION_MS = 24 * 60 * 60 * 1000;

const SessionRequest = Type.Object(
  {
    orderId: OrderId,
    amount: Amount,
    /** Absent: the sandbox makes one. */
    paymentKey: Type.Optional(PaymentKey),
    sessionMs: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_SESSION_MS })),
  },
  { additionalProperties: false },
);

const SessionAnswer = Type.Object({
  paymentKey: Type.String(),
  orderId: Type.String(),
  amount: Type.Integer(),
  currency: Type.String(),
  expiresAt: Type.String({ format: 'date-time' }),
});

const EventLines = Type.Unsafe<string | Readable>(
  Type.String({ description: 'The events whose seq is greater than `after`, as JSON lines.' }),
);

/** What the lab needs besides the provider's API: payment windows, and the truth about the money. */
export function registerLab(app: StrictServer, ledger: Ledger, book: Book, sessionMs: number): void {
  app.post(
    '/sandbox/sessions',
    {
      config: { auth: 'lab' },
      schema: { body: SessionRequest, response: { 200: SessionAnswer, '4xx': ErrorBody, '5xx': ErrorBody } },
    },
    async (request, reply) => {
      const { orderId, amount, paymentKey = `pay_${randomUUID()}` } = request.body;
      const session = ledger.write((decision) =>
        book.payment(paymentKey) === undefined
          ? openSession(decision, { paymentKey, orderId, amount }, request.body.sessionMs ?? sessionMs)
          : undefined,
      );
      await ledger.synced();
      if (session !== undefined) return session;
      const { status, message } = errorCodes.DUPLICATE_PAYMENT_SESSION;
      return reply.code(status).send({ code: 'DUPLICATE_PAYMENT_SESSION', message });
    },
  );

  app.get(
    '/sandbox/ledger',
    {
      config: { auth: 'lab' },
      schema: {
        querystring: Type.Object(
          { after: Type.Optional(Type.String({ pattern: '^\\d{1,15}$' })) },
          { additionalProperties: false },
        ),
        response: {
          200: EventLines,
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      await ledger.synced();
      reply.type('application/x-ndjson');
      return reply.send(ledger.read(Number(request.query.after ?? 0)) ?? '');
    },
  );

  app.get(
    '/health/ready',
    {
      config: { auth: 'public' },
      schema: { response: { 200: Type.Object({ status: Type.Literal('ready') }), '5xx': ErrorBody } },
    },
    async (_request, reply) => {
      if (ledger.failure() === undefined) return { status: 'ready' as const };
      return reply.code(503).send({ code: 'LEDGER_FAILED', message: 'The ledger can no longer be written.' });
    },
  );
}
