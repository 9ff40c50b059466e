import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { listCouponsOf } from '../coupons/coupon.ts';
import { setStanding } from '../coupons/standing.ts';
import type { ShopDatabase, ShopSql } from '../store/database.ts';
import { couponSchema, couponView, issuedFields } from './coupon-view.ts';
import { envelopeOf, problemsOf, success } from './envelope.ts';
import { idTextSchema, limitOf, limitSchema, oneOf } from './schemas.ts';

const membersCouponSchema = Type.Object({ id: Type.Integer(), ...issuedFields, coupon: couponSchema });

const standingSchema = oneOf(['GENERAL', 'FIRST', 'MEMBERSHIP', 'VIP']);

/** Routes about members: what one has, and how the shop regards him. */
export function memberRoutes(app: StrictServer, { db, sql }: { db: ShopDatabase; sql: ShopSql }): void {
  app.get(
    '/api/members/me/coupons',
    {
      schema: {
        operationId: 'listOwnCoupons',
        summary: 'The coupons that the member has, the newest first',
        tags: ['members'],
        querystring: Type.Object(
          { limit: Type.Optional(limitSchema), before: Type.Optional(idTextSchema) },
          { additionalProperties: false },
        ),
        response: { 200: envelopeOf(Type.Array(membersCouponSchema)), ...problemsOf() },
      },
      config: { auth: 'member' },
    },
    async ({ memberId, query }) => {
      const before = query.before === undefined ? undefined : Number(query.before);
      const coupons = await listCouponsOf(db, memberId, { limit: limitOf(query.limit), before });
      return success(
        coupons.map(({ id, serial, issuedAt, coupon }) => ({
          id,
          serialNumber: serial,
          issuedAt: issuedAt.toISOString(),
          coupon: couponView(coupon),
        })),
      );
    },
  );

  app.put(
    '/api/members/:memberId/standing',
    {
      schema: {
        operationId: 'setStanding',
        summary: 'Says how the shop regards a member',
        tags: ['members'],
        params: Type.Object({ memberId: idTextSchema }),
        body: Type.Object({ standing: standingSchema }, { additionalProperties: false }),
        response: {
          200: envelopeOf(Type.Object({ memberId: Type.Integer(), standing: standingSchema })),
          ...problemsOf(),
        },
      },
      config: { auth: 'operator' },
    },
    async ({ params, body: { standing } }) => {
      const memberId = Number(params.memberId);
      await setStanding(sql, memberId, standing);
      return success({ memberId, standing });
    },
  );
}
