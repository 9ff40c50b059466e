import express, { type RequestHandler } from 'express';
import { idempotencyKeys, sqlIdempotencyStore } from 'pawl';
import { idempotentRoute, keepRawBody } from 'pawl/express';
import { leaseOf } from 'pawl/http';
import { openPostgres } from './open-postgres.ts';

/** What the service has already: `authenticated` leaves who it is in `response.locals.member`, and `charge` asks the provider. */
interface Payments {
  readonly url: string;
  readonly authenticated: RequestHandler;
  readonly charge: (order: unknown, attempt: number) => Promise<string>;
}

export function payments({ url, authenticated, charge }: Payments) {
  const { sql, close } = openPostgres(url);
  const app = express();
  app.use(express.json({ verify: keepRawBody })); // The bytes, beside what is parsed of them.

  // Guard: duplicates wait for two seconds for the answer of the first.
  const keys = idempotencyKeys(sqlIdempotencyStore(sql), { waitMs: 2_000 });
  const once = idempotentRoute({ keys, member: ({ res }) => res?.locals.member });

  app.post('/payments', authenticated, once, async (request, response) => {
    // More than 1: somebody died in the middle. Ask the provider first, by the order.
    const attempt = leaseOf(keys, request)?.attempt ?? 1;
    const payment = await charge(request.body, attempt);
    response.status(201).location(`/payments/${payment}`).json({ payment });
  });
  return { app, close };
}
