import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { idempotentRoutes } from '../../../src/http/fastify.ts';
import {
  authenticated,
  type Framework,
  type Route,
  SERVED_BY,
  type Service,
  type StreamingReply,
  UNAUTHENTICATED,
} from '../framework.ts';

declare module 'fastify' {
  interface FastifyRequest {
    user: string | undefined;
  }
}

export const onFastify: Framework = {
  name: 'fastify',
  inflates: true,
  streams: [
    { name: 'stream', destroys: true },
    { name: 'web stream', destroys: true },
    { name: 'response', destroys: true },
    { name: 'hijack', destroys: false },
  ],
  async start(service) {
    const app = fastify({ forceCloseConnections: true });
    app.decorateRequest('user');
    app.addHook('onRequest', async (_, reply) => {
      reply.headers(SERVED_BY);
    });
    app.addHook('preParsing', async (request, _, payload) => {
      if (request.headers['content-encoding'] !== 'gzip') return payload;
      return Object.assign(payload.pipe(createGunzip()), {
        // What Fastify compares with the length that the client has told.
        receivedEncodedLength: Number(request.headers['content-length']),
      });
    });
    app.addContentTypeParser(
      'application/octet-stream',
      { parseAs: 'buffer' },
      async (_: unknown, body: Buffer) => body,
    );
    const guards = service.routes.flatMap(({ guard }) => guard ?? []);
    const [first] = guards;
    const member = ({ user }: FastifyRequest) => user;
    if (first !== undefined) await app.register(idempotentRoutes, { member, ...first });
    for (const route of service.routes) addRoute(route);
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };

    function addRoute({ method, path, guard, timesOut = false }: Route): void {
      app.route<{ Params: Record<string, string> }>({
        method,
        url: path,
        config: guard === undefined ? {} : { idempotent: guard },
        preHandler: async (request, reply) => {
          const known = authenticated(request.headers.authorization);
          if (known === undefined) return reply.code(401).send(UNAUTHENTICATED);
          request.user = known.user;
          if (!timesOut) return;
          void service.gaveUp(String(request.headers['x-case'])).then(() => reply.code(503).send());
        },
        handler: (request, reply) => handle(service, request, reply),
      });
    }
  },
};

async function handle(service: Service, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const answered = await service.handle({
    caseId: String(request.headers['x-case']),
    params: request.params as Record<string, string>,
    body: bodyOf(request),
    request,
    incoming: request.raw,
  });
  if ('stream' in answered) return stream(answered, reply);
  const { status, headers = {}, body, json } = answered;
  reply.code(status).headers(headers);
  return body ?? json;
}

function bodyOf({ body }: FastifyRequest): Buffer {
  if (body instanceof Buffer) return body;
  return Buffer.from(body === undefined || body === null ? '' : JSON.stringify(body));
}

async function stream({ stream, source }: StreamingReply, reply: FastifyReply): Promise<unknown> {
  switch (stream) {
    case 'stream':
      return source;
    case 'web stream':
      return Readable.toWeb(source);
    case 'response':
      return new Response(Readable.toWeb(source) as ReadableStream);
    default:
      reply.hijack();
      source.pipe(reply.raw);
      return reply;
  }
}
