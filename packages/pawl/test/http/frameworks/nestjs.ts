import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  HttpException,
  type INestApplication,
  Module,
  type NestInterceptor,
  Post,
  Req,
  Res,
  ServiceUnavailableException,
  StreamableFile,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Request, Response } from 'express';
import { from, map, raceWith } from 'rxjs';
import { IdempotencyInterceptor, type NestRequest } from '../../../src/http/nestjs.ts';
import {
  authenticated,
  type Framework,
  type Route,
  SERVED_BY,
  type Service,
  type StreamingReply,
  UNAUTHENTICATED,
} from '../framework.ts';

/* Decorators are applied as functions: Node runs no other syntax of TypeScript's than types. */

interface AuthenticatedRequest extends NestRequest {
  user?: string | undefined;
}

const OCTETS = 'application/octet-stream';
/** An error is not written to the console. */
const OPTIONS = { rawBody: true, logger: false } as const;

export const onNestjs: Framework = {
  name: 'nestjs',
  inflates: true,
  streams: [
    { name: 'file', destroys: true },
    { name: 'readable', destroys: true },
    { name: 'response', destroys: true },
    { name: 'pipe', destroys: true },
  ],
  async start(service) {
    const app = await NestFactory.create<NestExpressApplication>(moduleOf(service), OPTIONS);
    app.useBodyParser('raw', { type: OCTETS });
    return listening(app);
  },
};

export const onNestjsFastify: Framework = {
  ...onNestjs,
  name: 'nestjs on fastify',
  inflates: false,
  async start(service) {
    const adapter = new FastifyAdapter({ forceCloseConnections: true });
    const app = await NestFactory.create<NestFastifyApplication>(moduleOf(service), adapter, OPTIONS);
    app.useBodyParser(OCTETS);
    return listening(app);
  },
};

async function listening(app: INestApplication) {
  app.use((_: unknown, response: Response, next: () => void) => {
    for (const [name, value] of Object.entries(SERVED_BY)) response.setHeader(name, value);
    next();
  });
  await app.listen(0, '127.0.0.1');
  const server = app.getHttpServer();
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      await app.close();
    },
  };
}

/** A module with one controller, which has a method for each route. */
function moduleOf(service: Service): new () => object {
  class Routes {}
  Controller()(Routes);
  for (const [index, route] of service.routes.entries())
    addRoute(Routes.prototype, `route${index}`, service, route);
  class Root {}
  Module({ controllers: [Routes] })(Root);
  return Root;
}

function addRoute(routes: object, name: string, service: Service, route: Route): void {
  const { method, path, guard, timesOut = false } = route;
  const descriptor = {
    configurable: true,
    value: (request: Request, response: Response) => handle(service, request, response),
  };
  Object.defineProperty(routes, name, descriptor);
  const member = ({ user }: AuthenticatedRequest) => user;
  const decorators = [
    method === 'GET' ? Get(path) : Post(path),
    UseGuards(authentication),
    UseInterceptors(
      ...(timesOut ? [timeOutOf(service)] : []),
      ...(guard === undefined ? [] : [new IdempotencyInterceptor({ member, ...guard })]),
    ),
  ];
  for (const decorate of decorators) decorate(routes, name, descriptor);
  Req()(routes, name, 0);
  Res({ passthrough: true })(routes, name, 1);
}

const authentication: CanActivate = {
  canActivate(context: ExecutionContext) {
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const known = authenticated(request.headers.authorization);
    if (known === undefined) throw new HttpException(UNAUTHENTICATED, 401);
    request.user = known.user;
    return true;
  },
};

function timeOutOf(service: Service): NestInterceptor {
  return {
    intercept(context, next) {
      const { headers } = context.switchToHttp().getRequest<AuthenticatedRequest>();
      const gaveUp = from(service.gaveUp(String(headers['x-case']))).pipe(
        map(() => {
          throw new ServiceUnavailableException();
        }),
      );
      return next.handle().pipe(raceWith(gaveUp));
    },
  };
}

/** What both platforms have of a request and a response. */
async function handle(service: Service, request: Request, response: Response): Promise<unknown> {
  const answered = await service.handle({
    caseId: String(request.headers['x-case']),
    params: request.params as Record<string, string>,
    body: bodyOf(request),
    request,
    incoming: (request as Request & { raw?: Request }).raw ?? request,
  });
  if ('stream' in answered) return stream(answered, response);
  const { status, headers = {}, body, json } = answered;
  response.status(status);
  for (const [name, value] of Object.entries(headers)) response.header(name, value);
  // Bytes are no value that Nest would send; as a StreamableFile they would be a stream.
  if (body !== undefined) response.send(Buffer.from(body));
  return json;
}

function bodyOf({ body }: Request): Buffer {
  if (body instanceof Buffer) return body;
  return Buffer.from(body === undefined || body === null ? '' : JSON.stringify(body));
}

function stream({ stream, source }: StreamingReply, response: Response & { raw?: Response }): unknown {
  switch (stream) {
    case 'file':
      return new StreamableFile(source);
    case 'readable':
      return source;
    case 'response':
      return new globalThis.Response(Readable.toWeb(source) as ReadableStream);
    default:
      source.pipe(response.raw ?? response);
      // Whatever is sent by itself is not answered for.
      return new Promise(() => undefined);
  }
}
