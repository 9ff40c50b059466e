import { once } from 'node:events';
import express from 'express';
import { idempotentRoute, keepRawBody } from 'pawl/express';
import { HOST, MEMBER, portOf, type Serve } from './framework.ts';

export const serve: Serve = async (routes) => {
  const app = express();
  app.use(express.json({ verify: keepRawBody }));
  for (const { path, keys, work } of routes) {
    if (keys !== undefined) app.post(path, idempotentRoute({ keys, member: () => MEMBER }));
    app.post(path, async (request, response) => {
      response.json(await work(String(request.get('idempotency-key'))));
    });
  }
  const server = app.listen(0, HOST);
  await once(server, 'listening');
  return portOf(server);
};
