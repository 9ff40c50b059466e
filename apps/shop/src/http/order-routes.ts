import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { createOrder, findOrder, findRound, findTickets } from '../lotto/order.ts';
import type { DurablePurchases } from '../lotto/purchase/durable/durable-purchases.ts';
import {
  HIGHEST_NUMBER,
  MOST_TICKETS_IN_AN_ORDER,
  NUMBERS_IN_A_TICKET,
  quickPick,
  TICKET_PRICE,
} from '../lotto/ticket.ts';
import type { ShopDatabase, ShopSql } from '../store/database.ts';
import { envelopeOf, problem, problemsOf, success } from './envelope.ts';
import type { MemberLimit } from './member-limit.ts';
import { cancelRefusals, objections, TOO_MANY_REQUESTS } from './refusals.ts';
import { amountSchema, orderIdSchema } from './schemas.ts';

const ticketSchema = Type.Array(Type.Integer({ minimum: 1, maximum: HIGHEST_NUMBER }), {
  minItems: NUMBERS_IN_A_TICKET,
  maxItems: NUMBERS_IN_A_TICKET,
});

const orderBody = Type.Object(
  {
    /** The round to play in; without it, the one that sells now. */
    lottoRoundInfoId: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
    tickets: Type.Optional(Type.Array(ticketSchema, { maxItems: MOST_TICKETS_IN_AN_ORDER })),
    /** How many tickets the shop draws, besides those given. */
    quickPick: Type.Optional(Type.Integer({ minimum: 0, maximum: MOST_TICKETS_IN_AN_ORDER })),
    amount: Type.Optional(amountSchema),
  },
  { additionalProperties: false },
);

const createdSchema = Type.Object({
  orderId: Type.String(),
  lottoPublishId: Type.Integer(),
  amount: Type.Integer(),
});

const orderSchema = Type.Object({
  orderId: Type.String(),
  lottoPublishId: Type.Integer(),
  lottoRoundInfoId: Type.Integer(),
  amount: Type.Integer(),
  currency: Type.String(),
  status: Type.String(),
  createdAt: Type.String(),
  tickets: Type.Array(Type.Array(Type.Integer())),
  payment: Type.Union([
    Type.Null(),
    Type.Object({
      paymentKey: Type.String(),
      outcome: Type.String(),
      code: Type.Union([Type.String(), Type.Null()]),
    }),
  ]),
});

const canceledSchema = Type.Object({
  orderId: Type.String(),
  status: Type.Union([Type.Literal('CANCELED'), Type.Literal('REFUNDED'), Type.Literal('REFUNDING')]),
});

const notFound = { 'order-not-found': objections['order-not-found'] };

const BEING_REFUNDED = 'The money is being given back. Look at the order.';

export interface OrderRouteOptions {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  readonly cancel: DurablePurchases['cancel'];
  /** How many orders a member may create; undefined: as many as he likes. */
  readonly limit: MemberLimit | undefined;
}

export function orderRoutes(app: StrictServer, { db, sql, cancel, limit }: OrderRouteOptions): void {
  app.post(
    '/api/orders',
    {
      schema: {
        operationId: 'createOrder',
        summary: 'Orders tickets, which are still to be paid',
        tags: ['orders'],
        body: orderBody,
        response: {
          200: envelopeOf(createdSchema),
          ...problemsOf(TOO_MANY_REQUESTS, {
            'amount-mismatch': objections['amount-mismatch'],
            'round-closed': objections['round-closed'],
            'unknown-round': { status: 400 },
          }),
        },
      },
      config: { auth: 'member' },
      // Everything in the body is optional, and so is the body; null is one.
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async ({ body, memberId }, reply) => {
      const given = body.tickets ?? [];
      const drawn = body.quickPick ?? (given.length === 0 ? 1 : 0);
      const count = given.length + drawn;
      if (count < 1 || count > MOST_TICKETS_IN_AN_ORDER) {
        const message = `An order holds 1 to ${MOST_TICKETS_IN_AN_ORDER} tickets, not ${count}.`;
        return reply.status(400).send(problem(400, 'invalid-request', message));
      }
      if (body.amount !== undefined && body.amount !== count * TICKET_PRICE) {
        const message = `amount must be ${count * TICKET_PRICE} for ${count} tickets, or be left out.`;
        return reply.status(400).send(problem(400, 'amount-mismatch', message));
      }
      if (given.some((numbers) => new Set(numbers).size < NUMBERS_IN_A_TICKET)) {
        const message = `A ticket has ${NUMBERS_IN_A_TICKET} different numbers.`;
        return reply.status(400).send(problem(400, 'invalid-request', message));
      }
      const round = await findRound(db, body.lottoRoundInfoId);
      if (round.state === 'unknown') {
        return reply
          .status(400)
          .send(problem(400, 'unknown-round', 'There is no such round, or none that sells now.'));
      }
      if (round.state === 'closed') {
        return reply.status(400).send(problem(400, 'round-closed', objections['round-closed'].message));
      }
      const tickets = [
        ...given.map((numbers) => numbers.toSorted((a, b) => a - b)),
        ...Array.from({ length: drawn }, quickPick),
      ];
      const order = { memberId, roundId: round.id, tickets };
      if (limit === undefined) return success(await createOrder(sql, order));
      const created = await limit.run(memberId, () => createOrder(sql, order));
      return created === undefined ? limit.refuse() : success(created);
    },
  );

  app.get(
    '/api/orders/:orderId',
    {
      schema: {
        operationId: 'getOrder',
        summary: 'An order of the member, and what is known of its payment',
        tags: ['orders'],
        params: Type.Object({ orderId: orderIdSchema }),
        response: { 200: envelopeOf(orderSchema), ...problemsOf(notFound) },
      },
      config: { auth: 'member' },
    },
    async ({ params, memberId }, reply) => {
      const order = await findOrder(db, { orderId: params.orderId, memberId });
      if (order === undefined) {
        return reply.status(404).send(problem(404, 'order-not-found', objections['order-not-found'].message));
      }
      return success({
        orderId: order.orderId,
        lottoPublishId: order.lottoPublishId,
        lottoRoundInfoId: order.lottoRoundInfoId,
        amount: order.amount,
        currency: order.currency,
        status: order.status,
        createdAt: order.createdAt.toISOString(),
        tickets: (await findTickets(db, order.lottoPublishId)).map((numbers) => [...numbers]),
        payment: order.payment,
      });
    },
  );

  app.post(
    '/api/orders/:orderId/cancel',
    {
      schema: {
        operationId: 'cancelOrder',
        summary: 'Gives an order up, or gives it back where it has been paid',
        tags: ['orders'],
        params: Type.Object({ orderId: orderIdSchema }),
        body: Type.Object({}, { additionalProperties: false }),
        response: {
          200: envelopeOf(canceledSchema),
          202: envelopeOf(canceledSchema),
          ...problemsOf(cancelRefusals, notFound),
        },
      },
      config: { auth: 'member' },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async ({ params: { orderId }, memberId, id: requestId }, reply) => {
      const outcome = await cancel({ orderId, memberId, requestId });
      switch (outcome.outcome) {
        case 'done':
          return success({ orderId, status: outcome.value.status });
        case 'pending':
          reply.status(202).header('location', `/api/orders/${orderId}`);
          return success({ orderId, status: 'REFUNDING' as const }, 202, BEING_REFUNDED);
        case 'not-found': {
          const { message } = objections['order-not-found'];
          return reply.status(404).send(problem(404, 'order-not-found', message));
        }
        case 'refused': {
          const { status, message } = cancelRefusals[outcome.reason];
          return reply.status(status).send(problem(status, outcome.reason, message));
        }
      }
    },
  );
}
