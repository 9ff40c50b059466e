import Fastify from 'fastify';
import { idempotentRoutes } from 'pawl/fastify';
import { HOST, MEMBER, portOf, type Serve } from './framework.ts';

export const serve: Serve = async (routes) => {
  const app = Fastify();
  for (const { path, keys, work } of routes) {
    await app.register(async (scope) => {
      if (keys !== undefined) await scope.register(idempotentRoutes, { keys, member: () => MEMBER });
      scope.post(path, { config: { idempotent: keys !== undefined } }, (request) =>
        work(String(request.headers['idempotency-key'])),
      );
    });
  }
  await app.listen({ host: HOST, port: 0 });
  return portOf(app.server);
};
