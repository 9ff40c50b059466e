import { UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { IdempotencyKeys } from 'pawl';
import { IdempotencyInterceptor, type NestRequest } from 'pawl/nestjs';

/** As the service's own guard leaves it, which runs before. */
type Authenticated = NestRequest & { readonly user: { readonly id: string } };

/** `@Idempotent(keys)` above a handler, or a controller: `@Post() @Idempotent(keys) pay(@Body() order: Order) { … }`. */
export const Idempotent = (keys: IdempotencyKeys) =>
  UseInterceptors(new IdempotencyInterceptor({ keys, member: ({ user }: Authenticated) => user.id }));

/** The bytes of each body, beside what is parsed of them. */
export const start = (module: new () => object) => NestFactory.create(module, { rawBody: true });
