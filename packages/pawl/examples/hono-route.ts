import { Hono, type MiddlewareHandler } from 'hono';
import type { IdempotencyKeys } from 'pawl';
import { idempotentRoute } from 'pawl/hono';

/** `authenticated` leaves who it is in the context. */
type Authenticated = { Variables: { member: string } };

interface Payments {
  readonly keys: IdempotencyKeys;
  readonly authenticated: MiddlewareHandler<Authenticated>;
  readonly charge: (order: unknown) => Promise<string>;
}

export function payments({ keys, authenticated, charge }: Payments) {
  const app = new Hono<Authenticated>();
  const once = idempotentRoute<Authenticated>({ keys, member: (context) => context.get('member') });
  app.post('/payments', authenticated, once, async (context) => {
    const payment = await charge(await context.req.json());
    return context.json({ payment }, 201);
  });
  return app;
}
