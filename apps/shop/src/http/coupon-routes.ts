import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { createCoupon, findCoupon, listCoupons } from '../coupons/coupon.ts';
import { type CouponStrategyName, couponStrategyNames } from '../coupons/issue/index.ts';
import type { Issues } from '../coupons/issue/issue.ts';
import type { ShopDatabase, ShopSql } from '../store/database.ts';
import { couponBody, readCouponBody } from './coupon-body.ts';
import { couponFields, couponSchema, couponView, issuedFields } from './coupon-view.ts';
import { envelopeOf, problem, problemsOf, success } from './envelope.ts';
import { stopAtHeader, traced } from './lab-headers.ts';
import type { MemberLimit } from './member-limit.ts';
import { CONCURRENCY_FAILURE, couponObjections, couponRefusals, TOO_MANY_REQUESTS } from './refusals.ts';
import { limitOf, limitSchema, oneOf, uuidSchema } from './schemas.ts';

const couponParams = Type.Object({ couponId: uuidSchema });
const issuedSchema = Type.Object({ ...couponFields, ...issuedFields });

const notFound = { 'coupon-not-found': couponObjections['coupon-not-found'] };

/** What a request may say of itself in lab mode; elsewhere these headers mean nothing. */
const labHeaders = Type.Object({
  'x-coupon-strategy': Type.Optional(oneOf(couponStrategyNames)),
  ...stopAtHeader,
});

export interface CouponRouteOptions {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  readonly issue: Issues;
  readonly limit: MemberLimit;
  readonly defaultStrategy: CouponStrategyName;
  readonly labMode: boolean;
}

export function couponRoutes(app: StrictServer, options: CouponRouteOptions): void {
  const { db, sql, issue, limit } = options;

  app.post(
    '/api/coupon',
    {
      schema: {
        operationId: 'createCoupon',
        summary: 'Creates a coupon, all of it left',
        tags: ['coupons'],
        body: couponBody,
        response: { 200: envelopeOf(couponSchema), ...problemsOf({ 'duplicate-name': { status: 409 } }) },
      },
      config: { auth: 'operator' },
    },
    async ({ body }, reply) => {
      const read = readCouponBody(body);
      if (read.outcome === 'unreadable') {
        return reply.status(400).send(problem(400, 'invalid-request', read.message));
      }
      const created = await createCoupon(sql, read.value);
      if (created.outcome !== 'done') {
        return reply.status(409).send(problem(409, 'duplicate-name', 'There is a coupon of this name.'));
      }
      return success(couponView(created.value));
    },
  );

  app.get(
    '/api/coupon',
    {
      schema: {
        operationId: 'listCoupons',
        summary: 'Coupons, the newest first',
        tags: ['coupons'],
        querystring: Type.Object(
          { limit: Type.Optional(limitSchema), before: Type.Optional(uuidSchema) },
          { additionalProperties: false },
        ),
        response: { 200: envelopeOf(Type.Array(couponSchema)), ...problemsOf() },
      },
      config: { auth: 'public' },
    },
    async ({ query }) => {
      const coupons = await listCoupons(db, { limit: limitOf(query.limit), before: query.before });
      return success(coupons.map(couponView));
    },
  );

  app.get(
    '/api/coupon/:couponId',
    {
      schema: {
        operationId: 'getCoupon',
        summary: 'A coupon, and what is left of it',
        tags: ['coupons'],
        params: couponParams,
        response: { 200: envelopeOf(couponSchema), ...problemsOf(notFound) },
      },
      config: { auth: 'public' },
    },
    async ({ params }, reply) => {
      const coupon = await findCoupon(db, params.couponId);
      if (coupon !== undefined) return success(couponView(coupon));
      const { status, message } = couponObjections['coupon-not-found'];
      return reply.status(status).send(problem(status, 'coupon-not-found', message));
    },
  );

  app.post(
    '/api/coupon/:couponId',
    {
      schema: {
        operationId: 'issueCoupon',
        summary: 'Issues a coupon to the member, one for each',
        tags: ['coupons'],
        params: couponParams,
        ...(options.labMode ? { headers: labHeaders } : {}),
        response: {
          200: envelopeOf(issuedSchema),
          ...problemsOf(couponObjections, couponRefusals, CONCURRENCY_FAILURE, TOO_MANY_REQUESTS),
        },
      },
      config: { auth: 'member' },
      // Before anything is done for the request: of a thousand, most come no further.
      onRequest: ({ memberId }, _reply, done) => {
        if (limit.isReached(memberId)) limit.refuse().catch(done);
        else done();
      },
    },
    async (request, reply) => {
      const { couponId } = request.params;
      const outcome = await traced(options.labMode, request.headers, reply, (trace) =>
        limit.run(request.memberId, () =>
          issue({
            couponId,
            memberId: request.memberId,
            requestId: request.id,
            strategy: (options.labMode && chosenStrategy(request.headers)) || options.defaultStrategy,
            trace,
          }),
        ),
      );
      switch (outcome?.outcome) {
        case undefined:
          return limit.refuse();
        case 'objection': {
          const { status, message } = couponObjections[outcome.objection];
          return reply.status(status).send(problem(status, outcome.objection, message));
        }
        case 'refused': {
          const { status, message } = couponRefusals[outcome.reason];
          if (status === 503) reply.header('retry-after', '1');
          return reply.status(status).send(problem(status, outcome.reason, message));
        }
        case 'done': {
          const { serial, issuedAt, coupon } = outcome.value;
          return success({
            ...couponView(coupon),
            serialNumber: serial,
            issuedAt: issuedAt.toISOString(),
          });
        }
      }
    },
  );
}

function chosenStrategy(headers: Readonly<Record<string, unknown>>): CouponStrategyName | undefined {
  return couponStrategyNames.find((name) => name === headers['x-coupon-strategy']);
}
