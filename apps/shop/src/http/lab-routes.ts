import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import type { StockCounter } from '../coupons/issue/stock-counter.ts';
import { envelopeOf, problemsOf, success } from './envelope.ts';
import { uuidSchema } from './schemas.ts';

/** Lab mode: what a checker cannot see from outside. */
export function labRoutes(app: StrictServer, { counter }: { counter: StockCounter | undefined }): void {
  app.get(
    '/lab/coupon/:couponId/counter',
    {
      schema: {
        operationId: 'readCouponCounter',
        summary: 'What the counter of a coupon in Redis says',
        tags: ['lab'],
        params: Type.Object({ couponId: uuidSchema }),
        response: {
          200: envelopeOf(
            Type.Object({
              /** Null where there is no counter in Redis, or no Redis. */
              remaining: Type.Union([Type.Integer(), Type.Null()]),
              /** The day, in the coupon's time zone, that `quotaUsed` counts; null before the first. */
              quotaDay: Type.Union([Type.String(), Type.Null()]),
              quotaUsed: Type.Integer(),
              /** What was taken from it and has no outcome yet. */
              reserved: Type.Integer(),
            }),
          ),
          ...problemsOf(),
        },
      },
      config: { auth: 'lab' },
    },
    async ({ params }) => {
      const read = await counter?.read(params.couponId);
      const { remaining = null, quotaDay = null, quotaUsed = 0 } = read?.stock ?? {};
      return success({ remaining, quotaDay, quotaUsed, reserved: read?.reserved ?? 0 });
    },
  );
}
