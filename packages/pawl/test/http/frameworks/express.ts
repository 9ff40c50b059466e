import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import express, { type NextFunction, type Request, type Response } from 'express';
import { idempotentRoute, keepRawBody } from '../../../src/http/express.ts';
import {
  authenticated,
  type Framework,
  type Route,
  SERVED_BY,
  type Service,
  type StreamingReply,
  UNAUTHENTICATED,
} from '../framework.ts';

export const onExpress: Framework = {
  name: 'express',
  inflates: true,
  streams: [
    { name: 'pipe', destroys: true },
    { name: 'write', destroys: false },
    { name: 'pipeline', destroys: true },
    { name: 'head first', destroys: true },
  ],
  async start(service) {
    const app = express();
    // As in production: an error is not shown, nor written to the console.
    app.set('env', 'test');
    app.use((_, response, next) => {
      response.set(SERVED_BY);
      next();
    });
    app.use(express.json({ verify: keepRawBody }), express.raw({ type: 'application/octet-stream' }));
    for (const route of service.routes) addRoute(route);

    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      async close() {
        server.close();
        server.closeAllConnections();
        await once(server, 'close');
      },
    };

    function addRoute({ method, path, guard, timesOut = false }: Route): void {
      const member = ({ res }: Request) => res?.locals.user as string | undefined;
      const handlers = [
        authenticate,
        ...(timesOut ? [timeOut] : []),
        ...(guard === undefined ? [] : [idempotentRoute({ member, ...guard })]),
        (request: Request, response: Response) => handle(service, request, response),
      ];
      if (method === 'GET') app.get(path, ...handlers);
      else app.post(path, ...handlers);
    }

    function timeOut(request: Request, response: Response, next: NextFunction): void {
      void service.gaveUp(String(request.headers['x-case'])).then(() => response.status(503).end());
      next();
    }
  },
};

function authenticate({ headers }: Request, response: Response, next: NextFunction): void {
  const known = authenticated(headers.authorization);
  if (known === undefined) {
    response.status(401).json(UNAUTHENTICATED);
    return;
  }
  response.locals.user = known.user;
  next();
}

async function handle(service: Service, request: Request, response: Response): Promise<void> {
  const answered = await service.handle({
    caseId: String(request.headers['x-case']),
    params: request.params as Record<string, string>,
    body: bodyOf(request),
    request,
    incoming: request,
  });
  if ('stream' in answered) return stream(answered, response);
  const { status, headers = {}, body, json } = answered;
  response.status(status).set(headers);
  if (json !== undefined) response.json(json);
  else if (body === undefined) response.end();
  else response.send(Buffer.from(body));
}

function bodyOf({ body }: Request): Buffer {
  if (body instanceof Buffer) return body;
  return Buffer.from(body === undefined ? '' : JSON.stringify(body));
}

async function stream({ stream, source }: StreamingReply, response: Response): Promise<void> {
  switch (stream) {
    case 'write':
      for await (const chunk of source) response.write(chunk);
      response.end();
      return;
    case 'pipeline':
      // The source ends before its time where it is not sent.
      return pipeline(source, response).catch(() => undefined);
    case 'head first':
      response.writeHead(200, { 'x-trace': 'abc' }).flushHeaders();
  }
  source.pipe(response);
}
