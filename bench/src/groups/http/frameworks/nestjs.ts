import 'reflect-metadata';
import { Controller, Module, Post, Req, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { IdempotencyInterceptor } from 'pawl/nestjs';
import { type BenchRoute, HOST, MEMBER, portOf, type Serve } from './framework.ts';

export const serve: Serve = async (routes) => {
  class App {}
  Module({ controllers: routes.map(controllerOf) })(App);
  const app = await NestFactory.create<NestExpressApplication>(App, { rawBody: true, logger: false });
  await app.listen(0, HOST);
  return portOf(app.getHttpServer());
};

/** Decorators are applied by hand, because Node runs these sources without a compiler. */
function controllerOf({ path, keys, work }: BenchRoute) {
  class RouteController {
    handle(request: { headers: Record<string, unknown> }) {
      return work(String(request.headers['idempotency-key']));
    }
  }
  const handle = Object.getOwnPropertyDescriptor(RouteController.prototype, 'handle') ?? {};
  Post()(RouteController.prototype, 'handle', handle);
  Req()(RouteController.prototype, 'handle', 0);
  if (keys !== undefined) {
    UseInterceptors(new IdempotencyInterceptor({ keys, member: () => MEMBER }))(
      RouteController.prototype,
      'handle',
      handle,
    );
  }
  Controller(path)(RouteController);
  return RouteController;
}
