import { serve as serveNode } from '@hono/node-server';
import { Hono } from 'hono';
import { idempotentRoute } from 'pawl/hono';
import { HOST, MEMBER, type Serve } from './framework.ts';

export const serve: Serve = async (routes) => {
  const app = new Hono();
  for (const { path, keys, work } of routes) {
    if (keys !== undefined) app.post(path, idempotentRoute({ keys, member: () => MEMBER }));
    app.post(path, async (context) => {
      await context.req.json();
      return context.json(await work(String(context.req.header('idempotency-key'))));
    });
  }
  return new Promise((resolve) => {
    serveNode({ fetch: app.fetch, hostname: HOST, port: 0 }, ({ port }) => resolve(port));
  });
};
