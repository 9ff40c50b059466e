import type { HttpAnswer, HttpRequest } from '../messages.ts';
import { exchange } from './say.ts';

class Response {
  readonly status: number;
  readonly body: string;

  constructor({ status, body }: HttpAnswer) {
    this.status = status;
    this.body = body;
  }

  /** @param path  names with dots between them */
  json(path?: string): unknown {
    const names = path === undefined ? [] : path.split('.');
    return names.reduce((value, name) => (value as Record<string, unknown>)[name], JSON.parse(this.body));
  }
}

function batch(requests: HttpRequest[]): Response[] {
  return exchange(requests).map((answer) => new Response(answer));
}

function one(request: HttpRequest): Response {
  const [response] = batch([request]);
  if (response === undefined) throw new Error('nothing came back');
  return response;
}

export default {
  batch,
  get: (url: string, params?: HttpRequest['params']) =>
    one({ method: 'GET', url, ...(params && { params }) }),
  post: (url: string, body: string | null, params?: HttpRequest['params']) =>
    one({ method: 'POST', url, body, ...(params && { params }) }),
  expectedStatuses: (...statuses: number[]) => statuses,
  /** Tells k6 which requests its own statistics call failed, which nothing here looks at. */
  setResponseCallback: (_statuses: number[]) => undefined,
};
