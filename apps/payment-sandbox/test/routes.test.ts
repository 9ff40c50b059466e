import { createStrictServer } from '@pawl/service-kit';
import { Type } from 'typebox';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { guardRoutes } from '../src/auth.ts';
import { createSandbox } from '../src/index.ts';
import { AUTHORIZATION, newLedgerFile } from './harness.ts';

const order = { orderId: 'order-1', amount: 1000 };
const paid = { ...order, paymentKey: 'paid' };
const hour = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();

interface RouteCase {
  readonly auth: 'public' | 'provider-key' | 'lab';
  /** A request that is answered with 200 or 204, in this order. */
  readonly path: string;
  readonly body?: object;
}

/** Every route of the sandbox. A route that is added is added here, with a request that is right. */
const table: Readonly<Record<string, RouteCase>> = {
  'GET /health/ready': { auth: 'public', path: '/health/ready' },
  'POST /sandbox/sessions': { auth: 'lab', path: '/sandbox/sessions', body: { ...order, paymentKey: 'new' } },
  'GET /sandbox/ledger': { auth: 'lab', path: '/sandbox/ledger?after=0' },
  'POST /sandbox/faults': {
    auth: 'lab',
    path: '/sandbox/faults',
    body: { orderId: 'order-of-nobody', when: 'before', fault: { kind: 'reset' } },
  },
  'GET /sandbox/faults': { auth: 'lab', path: '/sandbox/faults' },
  'DELETE /sandbox/faults/:id': { auth: 'lab', path: '/sandbox/faults/:id' },
  'DELETE /sandbox/faults': { auth: 'lab', path: '/sandbox/faults' },
  'POST /v1/payments/confirm': { auth: 'provider-key', path: '/v1/payments/confirm', body: paid },
  'GET /v1/payments/:paymentKey': { auth: 'provider-key', path: '/v1/payments/paid' },
  'GET /v1/payments/orders/:orderId': { auth: 'provider-key', path: '/v1/payments/orders/order-1' },
  'POST /v1/payments/:paymentKey/cancel': {
    auth: 'provider-key',
    path: '/v1/payments/paid/cancel',
    body: { cancelReason: 'changed my mind' },
  },
  'GET /v1/transactions': {
    auth: 'provider-key',
    path: `/v1/transactions?startDate=${hour(-1)}&endDate=${hour(1)}`,
  },
};

async function start() {
  const sandbox = await createSandbox({
    port: 0,
    latencyMinMs: 0,
    latencyMaxMs: 0,
    logLevel: 'silent',
    ledgerFile: await newLedgerFile(),
  });
  onTestFinished(() => sandbox.close());
  async function ask(route: string, { path, body }: RouteCase, headers: Record<string, string> = {}) {
    const response = await fetch(`${sandbox.url}${path}`, {
      method: route.split(' ')[0] ?? '',
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  }
  return { ...sandbox, ask };
}

test('each route stands in the table with its rule, and there is no other', async () => {
  const { routes } = await start();
  const registered = routes.map(({ method, url, auth }) => `${method} ${url}: ${auth}`);
  const listed = Object.entries(table).map(([route, { auth }]) => `${route}: ${auth}`);
  expect(registered.toSorted()).toEqual(listed.toSorted());
});

test('what is right is done', async () => {
  const { url, ask } = await start();
  await ask('POST', { auth: 'lab', path: '/sandbox/sessions', body: paid });
  for (const [route, routeCase] of Object.entries(table)) {
    let { path } = routeCase;
    if (path.includes(':id')) {
      const rules = (await (await fetch(`${url}/sandbox/faults`)).json()) as { id: string }[];
      path = path.replace(':id', rules[0]?.id ?? 'none');
    }
    const { status, text } = await ask(route, { ...routeCase, path }, { authorization: AUTHORIZATION });
    expect([route, status, text]).toEqual([route, expect.toBeOneOf([200, 204]), text]);
  }
});

test('without the right key: 401 where it is asked for, and nothing is decided', async () => {
  const { url, ask } = await start();
  await ask('POST', { auth: 'lab', path: '/sandbox/sessions', body: paid });
  const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString('base64')}`;
  const wrong: Record<string, string>[] = [
    {},
    { authorization: '' },
    { authorization: basic('test_sk_other:') },
    { authorization: basic('test_sk_sandbox') },
    { authorization: basic('test_sk_sandbox:x') },
    { authorization: basic(':test_sk_sandbox') },
    { authorization: 'Bearer test_sk_sandbox' },
    { cookie: 'key=test_sk_sandbox' },
  ];
  for (const [route, routeCase] of Object.entries(table)) {
    if (routeCase.auth !== 'provider-key') continue;
    for (const headers of wrong) {
      const { status, text } = await ask(route, routeCase, headers);
      expect([route, headers, status]).toEqual([route, headers, expect.toBeOneOf([401, 403])]);
      expect(JSON.parse(text).code).toMatch(/^(UNAUTHORIZED_KEY|INCORRECT_BASIC_AUTH_FORMAT)$/);
      // What is asked is not looked at.
      const body = { not: 'what is asked for' };
      if (!route.startsWith('GET'))
        expect((await ask(route, { ...routeCase, body }, headers)).status).toBe(status);
    }
  }
  const ledger = await (await fetch(`${url}/sandbox/ledger`)).text();
  expect(ledger).not.toMatch(/"type":"(capture|refund)"/);
});

describe('from another machine', () => {
  let ask: (url: string, from: string) => Promise<number>;
  beforeAll(() => {
    const { app } = createStrictServer({
      bodyLimitBytes: 1_000,
      requestTimeoutMs: 1_000,
      logger: false,
      errorBody: () => ({}),
    });
    guardRoutes(app, 'test_sk_sandbox');
    for (const auth of ['public', 'lab'] as const) {
      const schema = { response: { 200: Type.String() } };
      app.get(`/${auth}`, { schema, config: { auth } }, async () => 'done');
    }
    ask = async (url, remoteAddress) => (await app.inject({ url, remoteAddress })).statusCode;
  });

  test('the routes of the lab are refused, whatever it says of itself', async () => {
    for (const from of ['192.0.2.1', '10.0.0.1', '::ffff:192.0.2.1', '2001:db8::1']) {
      expect(await ask('/lab', from)).toBe(403);
      expect(await ask('/public', from)).toBe(200);
    }
    for (const from of ['127.0.0.1', '127.0.0.2', '::1']) expect(await ask('/lab', from)).toBe(200);
  });
});
