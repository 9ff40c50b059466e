import type { StrictServer } from '@pawl/service-kit';
import { readIdempotencyHeader } from 'pawl/http';
import Type from 'typebox';
import { findBill } from '../lotto/bill.ts';
import { type StrategyName, strategyNames } from '../lotto/purchase/index.ts';
import type { Purchases } from '../lotto/purchase/purchase.ts';
import { ASKED_TWICE } from '../payment/provider.ts';
import type { ShopDatabase } from '../store/database.ts';
import { billView } from './bill-view.ts';
import { envelopeOf, problem, problemsOf, success } from './envelope.ts';
import { stopAtHeader, traced } from './lab-headers.ts';
import { CONCURRENCY_FAILURE, objections, refusals } from './refusals.ts';
import { amountSchema, idSchema, idTextSchema, orderIdSchema, paymentKeySchema } from './schemas.ts';

const confirmationBody = Type.Object(
  {
    lottoPublishId: idSchema,
    purchaseHttpRequest: Type.Object(
      { orderId: orderIdSchema, paymentKey: paymentKeySchema, amount: Type.Optional(amountSchema) },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);

const idempotencyHeader = {
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'What a request is known by when it is sent again: 1 to 255 characters of visible ASCII, with or without quotes',
    }),
  ),
};

/** What a request may say of itself in lab mode; elsewhere these headers mean nothing. */
const labHeaders = Type.Object({
  ...idempotencyHeader,
  'x-purchase-strategy': Type.Optional(Type.Union(strategyNames.map((name) => Type.Literal(name)))),
  'tosspayments-test-code': Type.Optional(Type.String({ pattern: '^[A-Z_]{1,64}$' })),
  ...stopAtHeader,
});

const billSchema = Type.Object({
  id: Type.Integer(),
  purchase: Type.Object({
    totalAmount: Type.Integer(),
    paymentKey: Type.String(),
    orderId: Type.String(),
    status: Type.String(),
    purchaseProvider: Type.String(),
    method: Type.String(),
  }),
  lottoPublish: Type.Object({
    id: Type.Integer(),
    issued_at: Type.String(),
    lotto_round_info_id: Type.Integer(),
    status: Type.String(),
  }),
});

const acceptedSchema = Type.Object({
  orderId: Type.String(),
  status: Type.Union([Type.Literal('PENDING'), Type.Literal('COMPLETE')]),
});

const NOT_KNOWN_YET =
  'It is not known yet whether the payment went through. Do not pay again; look at the order.';
const PAID_WITHOUT_BILL = 'The order is paid. The bill cannot be shown now; look at the order.';

export interface TicketRouteOptions {
  readonly db: ShopDatabase;
  readonly purchase: Purchases;
  readonly defaultStrategy: StrategyName;
  readonly labMode: boolean;
}

export function ticketRoutes(app: StrictServer, options: TicketRouteOptions): void {
  const { db, purchase } = options;

  app.post(
    '/api/tickets',
    {
      schema: {
        operationId: 'confirmPayment',
        summary: 'Pays an order, once however often it is asked',
        tags: ['tickets'],
        body: confirmationBody,
        headers: options.labMode ? labHeaders : Type.Object(idempotencyHeader),
        response: {
          200: envelopeOf(billSchema),
          202: envelopeOf(acceptedSchema),
          ...problemsOf(objections, refusals, { refunded: { status: 400 } }, CONCURRENCY_FAILURE),
        },
      },
      config: { auth: 'member' },
    },
    async (request, reply) => {
      const { orderId, paymentKey, amount } = request.body.purchaseHttpRequest;
      const header = readIdempotencyHeader(request.headers['idempotency-key']);
      if (header.kind === 'invalid')
        return reply.status(400).send(problem(400, 'invalid-request', header.why));
      const lab = options.labMode ? readLabHeaders(request.headers) : {};
      const strategy = lab.strategy ?? options.defaultStrategy;
      const outcome = await traced(options.labMode, request.headers, reply, (trace) =>
        purchase({
          memberId: request.memberId,
          lottoPublishId: request.body.lottoPublishId,
          orderId,
          paymentKey,
          idempotencyKey: header.kind === 'key' ? header.key : undefined,
          amount,
          requestId: request.id,
          strategy,
          testCode: lab.testCode,
          trace,
        }),
      );
      const pending = () => {
        reply.status(202).header('location', `/api/orders/${orderId}`);
        return success({ orderId, status: 'PENDING' as const }, 202, NOT_KNOWN_YET);
      };
      switch (outcome.outcome) {
        case 'answered': {
          const { status, headers, body } = outcome.answer;
          if (outcome.replayed) reply.header('idempotency-replayed', 'true');
          // Bytes, so that nobody makes others of them.
          return reply
            .status(status as 200)
            .headers({ ...headers })
            .send(Buffer.from(body) as never);
        }
        case 'pending':
          return pending();
        case 'done': {
          const key = { billId: outcome.value.billId, memberId: request.memberId };
          const bill = await findBill(db, key).catch((error: unknown) => {
            // The order is paid: whatever fails now must not look like a failed purchase.
            request.log.error({ err: error, ...key }, 'the bill of a paid order could not be read');
            return undefined;
          });
          if (bill === undefined) {
            reply.status(202).header('location', `/api/orders/${orderId}`);
            return success({ orderId, status: 'COMPLETE' as const }, 202, PAID_WITHOUT_BILL);
          }
          if (outcome.replayed) reply.header('idempotency-replayed', 'true');
          return success(billView(bill));
        }
        case 'objection': {
          const { status, message } = objections[outcome.objection];
          return reply.status(status).send(problem(status, outcome.objection, message));
        }
        case 'refused': {
          const { status, message } = refusals[outcome.reason];
          if (status === 503) reply.header('retry-after', '1');
          const detail = outcome.reason === 'declined' && 'message' in outcome ? ` (${outcome.code})` : '';
          return reply.status(status).send(problem(status, outcome.reason, message + detail));
        }
        case 'unknown': {
          if (outcome.code === ASKED_TWICE) {
            return reply
              .status(500)
              .send(
                problem(500, 'concurrency-failure', 'The payment provider was asked twice for this order.'),
              );
          }
          return pending();
        }
      }
    },
  );

  app.get(
    '/api/tickets/:billId',
    {
      schema: {
        operationId: 'getBill',
        summary: 'A bill of the member',
        tags: ['tickets'],
        params: Type.Object({ billId: idTextSchema }),
        response: { 200: envelopeOf(billSchema), ...problemsOf({ 'bill-not-found': { status: 404 } }) },
      },
      config: { auth: 'member' },
    },
    async ({ params, memberId }, reply) => {
      const bill = await findBill(db, { billId: Number(params.billId), memberId });
      if (bill === undefined)
        return reply.status(404).send(problem(404, 'bill-not-found', 'There is no such bill.'));
      return success(billView(bill));
    },
  );
}

/** The headers that `labHeaders` has checked. */
function readLabHeaders(headers: Readonly<Record<string, unknown>>): {
  strategy?: StrategyName;
  testCode?: string;
} {
  const strategy = strategyNames.find((name) => name === headers['x-purchase-strategy']);
  const testCode = headers['tosspayments-test-code'];
  return {
    ...(strategy === undefined ? {} : { strategy }),
    ...(typeof testCode === 'string' ? { testCode } : {}),
  };
}
