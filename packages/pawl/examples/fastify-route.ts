import fastify, { type preHandlerAsyncHookHandler } from 'fastify';
import { idempotencyKeys, sqlIdempotencyStore } from 'pawl';
import { idempotentRoutes } from 'pawl/fastify';
import { leaseOf } from 'pawl/http';
import { openMysql } from './open-mysql.ts';

/** What the service has already: `authenticated` decorates the request with its `member`, and `charge` asks the provider. */
interface Payments {
  readonly url: string;
  readonly authenticated: preHandlerAsyncHookHandler;
  readonly charge: (order: unknown, attempt: number) => Promise<string>;
}

export async function payments({ url, authenticated, charge }: Payments) {
  const { sql, close } = openMysql(url);
  const app = fastify();
  app.decorateRequest('member', '');

  // Guard: before the routes are added. Duplicates wait for two seconds for the answer of the first.
  const keys = idempotencyKeys(sqlIdempotencyStore(sql), { waitMs: 2_000 });
  await app.register(idempotentRoutes, { keys, member: (request) => request.getDecorator<string>('member') });

  const guarded = { preHandler: authenticated, config: { idempotent: true } };
  app.post('/payments', guarded, async (request, reply) => {
    // More than 1: somebody died in the middle. Ask the provider first, by the order.
    const attempt = leaseOf(keys, request)?.attempt ?? 1;
    const payment = await charge(request.body, attempt);
    return reply.code(201).header('location', `/payments/${payment}`).send({ payment });
  });
  return { app, close };
}
