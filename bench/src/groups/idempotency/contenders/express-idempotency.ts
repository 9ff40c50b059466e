import type { Request, Response } from 'express';
import { getSharedIdempotencyService, type IIdempotencyDataAdapter, idempotency } from 'express-idempotency';
import redisAdapter from 'express-idempotency-redis-adapter';
import type { OpenOperation } from '../../operations/operation.ts';
import { payloadOf } from '../result.ts';
import { guarded } from './guarded.ts';

const CONFLICT = 409;

/** Its middleware in front of a handler, with requests and responses that have what it asks of them, and no HTTP. */
export const openExpressIdempotency: OpenOperation = async ({ redis: url }) => {
  const dataAdapter = new redisAdapter.default({ connectionConfig: { url } });
  await dataAdapter.connect();
  const middleware = idempotency({ dataAdapter: dataAdapter as IIdempotencyDataAdapter });
  const service = getSharedIdempotencyService();
  return guarded({
    run: (key, work) =>
      new Promise((resolve, reject) => {
        const request = requestWith(key);
        const response = responseTo(resolve);
        const next = (error?: unknown) => {
          if (error !== undefined) {
            if (response.statusCode === CONFLICT) resolve(undefined);
            else reject(error);
          } else if (!service.isHit(request)) {
            work().then((result) => response.status(200).send(result), reject);
          }
        };
        Promise.resolve(middleware(request, response, next)).catch(reject);
      }),
    close: () => dataAdapter.disconnect(),
  });
};

function requestWith(key: string): Request {
  const headers: Record<string, string> = { 'idempotency-key': key };
  const request = {
    headers,
    ...{ method: 'POST', url: '/payments', query: {}, body: JSON.parse(payloadOf(key)) },
    get: (name: string) => headers[name],
  };
  return request as unknown as Request;
}

function responseTo(send: (body: string) => void): Response {
  const headers: Record<string, unknown> = { 'content-type': 'application/json; charset=utf-8' };
  const response = {
    statusCode: 200,
    setHeader(name: string, value: unknown) {
      headers[name] = value;
    },
    getHeaders: () => headers,
    status(code: number) {
      response.statusCode = code;
      return response;
    },
    send,
  };
  return response as unknown as Response;
}
