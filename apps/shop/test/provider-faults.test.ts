import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { newRedis, type SqlStore, sqlStores, thorough } from '../../../test/stores.ts';
import { type StrategyName, strategyNames } from '../src/lotto/purchase/index.ts';
import { tossClient } from '../src/payment/toss-client.ts';
import {
  type Ends,
  gate,
  type OrderRef,
  RECOVERING,
  type Shops,
  startProvider,
  startShops,
  untilFileEnds,
} from './harness.ts';

/** Who leaves a payment unknown for good, once its outcome was not heard. */
const withoutRecovery = strategyNames.filter((name) => name !== 'durable');

type StubAnswer = (response: ServerResponse, body: Record<string, unknown>) => void;

/** A provider that answers every request as it is told. */
async function startStub(ends: Ends) {
  let answer: StubAnswer = (response) => response.writeHead(501).end();
  let confirms = 0;
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method === 'POST') confirms++;
      answer(response, chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString()));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** @returns how often it has been asked to confirm since */
    answerWith(next: StubAnswer): () => number {
      answer = next;
      confirms = 0;
      return () => confirms;
    },
  };
}

const json = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const payment = (body: Record<string, unknown>, change: object = {}) => ({
  status: 'DONE',
  paymentKey: body.paymentKey,
  orderId: body.orderId,
  totalAmount: body.amount,
  currency: 'KRW',
  method: 'CARD',
  ...change,
});

/** The order must say that nobody knows, tell the member what to do, and never be charged again. */
async function expectUnknown(shops: Shops, order: OrderRef, strategy: StrategyName) {
  const headers = { 'x-purchase-strategy': strategy };
  const reply = await shops.confirm(order, { headers });
  expect(reply.status).toBe(202);
  expect(reply.headers.get('location')).toBe(`/api/orders/${order.orderId}`);
  expect(reply.body).toMatchObject({ success: true, status: 202, data: { status: 'PENDING' } });
  expect(reply.body.message).toContain('Do not pay again');
  // What the durable purchase does not know yet is still going on: its record says how far it has come.
  const outcome = strategy === 'durable' ? 'in-progress' : 'unknown';
  expect(await shops.see(order)).toMatchObject({ status: 'PENDING', payment: { outcome } });

  const again = await shops.confirm(order, { headers, paymentKey: 'another-key' });
  expect(again.status).toBe(400);
  expect(await shops.sql('SELECT * FROM bill')).toEqual([]);
}

const answers: [string, StubAnswer][] = [
  [
    'a 500 that may come after the capture',
    (r) => json(r, 500, { code: 'UNKNOWN_PAYMENT_ERROR', message: '' }),
  ],
  ['PROVIDER_ERROR with a 400', (r) => json(r, 400, { code: 'PROVIDER_ERROR', message: '' })],
  ['ALREADY_PROCESSED_PAYMENT', (r) => json(r, 400, { code: 'ALREADY_PROCESSED_PAYMENT', message: '' })],
  [
    'IDEMPOTENT_REQUEST_PROCESSING',
    (r) => json(r, 409, { code: 'IDEMPOTENT_REQUEST_PROCESSING', message: '' }),
  ],
  ['a code that nobody knows', (r) => json(r, 400, { code: 'SOMETHING_NEW', message: '' })],
  ['wrong credentials', (r) => json(r, 401, { code: 'UNAUTHORIZED_KEY', message: '' })],
  ['a decline without a code', (r) => json(r, 403, { message: 'REJECT_CARD_PAYMENT' })],
  ['HTML', (r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<h1>502 Bad Gateway</h1>')],
  ['an empty 200', (r) => r.writeHead(200).end()],
  ['a 204', (r) => r.writeHead(204).end()],
  ['a redirect', (r) => r.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()],
  ['half an answer', (r) => r.writeHead(200, { 'content-length': '1000' }).end('{"status":"DO')],
  ['a reset', (r) => r.socket?.resetAndDestroy()],
  ['silence', () => undefined],
  [
    'a header and then silence',
    (r) => r.writeHead(200, { 'content-type': 'application/json' }).flushHeaders(),
  ],
  ['an endless answer', (r) => r.writeHead(200).end('x'.repeat(1_000_000))],
  ['a payment that is not DONE', (r, body) => json(r, 200, payment(body, { status: 'IN_PROGRESS' }))],
  ["another order's payment", (r, body) => json(r, 200, payment(body, { orderId: 'another-order' }))],
  ['another payment key', (r, body) => json(r, 200, payment(body, { paymentKey: 'another-key' }))],
  ['another amount', (r, body) => json(r, 200, payment(body, { totalAmount: 1 }))],
  ['another currency', (r, body) => json(r, 200, payment(body, { currency: 'USD' }))],
];

const declines = [
  'REJECT_CARD_PAYMENT',
  'REJECT_CARD_COMPANY',
  'REJECT_ACCOUNT_PAYMENT',
  'CARD_PROCESSING_ERROR',
  'FDS_ERROR',
  'UNAPPROVED_ORDER_ID',
  'INVALID_REQUEST',
  'NOT_FOUND_PAYMENT',
  'NOT_FOUND_PAYMENT_SESSION',
];

describe('a provider whose answers are of no use', () => {
  const ends = untilFileEnds();
  let stub: Awaited<ReturnType<typeof startStub>>;
  let shops: Shops;

  beforeAll(async () => {
    stub = await startStub(ends);
    shops = await startShops({
      ends,
      providerUrl: stub.url,
      // Nobody recovers what the durable purchase leaves: this is about who has sent it.
      env: { PAYMENT_TIMEOUT_MS: '300', RECOVERY_EVERY_MS: '3600000' },
    });
  });

  describe.each(answers)('%s', (_name, answer) => {
    test.each(['conditional-update', 'durable'] as const)(
      '%s: the payment stays unknown, is shown as such, and is not asked for again',
      async (strategy) => {
        const confirms = stub.answerWith(answer);
        await expectUnknown(shops, await shops.order(), strategy);
        expect(confirms()).toBe(1);
      },
    );
  });

  test.each(declines)('%s is a decline whatever its HTTP status', async (code) => {
    for (const status of [400, 403, 404, 500]) {
      stub.answerWith((response) => json(response, status, { code, message: 'no' }));
      const order = await shops.order();
      expect((await shops.confirm(order)).body).toMatchObject({ status: 400, code: 'declined' });
      expect(await shops.see(order)).toMatchObject({
        status: 'WAITING',
        payment: { outcome: 'declined', code },
      });
    }
  });
});

/** It is the provider that fails: what becomes of that does not depend on the database. */
const stores: readonly SqlStore[] = thorough ? sqlStores : ['postgres'];

describe.each(stores)('on %s', (store) => {
  describe.each(withoutRecovery)('%s', (strategy) => {
    const headers = { 'x-purchase-strategy': strategy };

    test('a provider that is slower than the time-out has captured, and is never asked again', async () => {
      const slow = gate();
      const provider = await startProvider({ clock: slow.clock });
      const shops = await startShops({
        store,
        providerUrl: provider.url,
        env: { PAYMENT_TIMEOUT_MS: '500' },
      });
      await expectUnknown(shops, await shops.order(), strategy);
      slow.open();
      await until(async () => (await provider.captures()) === 1);
      expect(await provider.requests()).toBe(1);
    });

    test('a database that fails after the charge: the order shows that nobody knows, and is not charged again', async () => {
      const provider = await startProvider({ mode: 'generous' });
      const shops = await startShops({
        store,
        providerUrl: provider.url,
        env: { IDEMPOTENCY_TTL_MS: '100' },
      });
      const order = await shops.order();
      await shops.breakBills();
      expect((await shops.confirm(order, { headers })).status).toBe(202);
      expect(await shops.see(order)).toMatchObject({
        status: 'PENDING',
        payment: { outcome: 'unknown', code: 'NOT_RECORDED' },
      });
      await shops.mendBills();
      // The key in Redis ends, the state of the order does not.
      const { redis } = newRedis();
      await redis.connect();
      await until(async () => (await redis.exists(`shop:purchase:${order.orderId}`)) === 0);
      redis.disconnect();
      expect((await shops.confirm(order, { headers })).status).toBe(400);
      expect(await provider.requests()).toBe(1);
      expect(await shops.sql('SELECT * FROM bill')).toEqual([]);
    });

    test('a bill that cannot be read after the purchase: the member hears that the order is paid', async () => {
      const provider = await startProvider();
      const shops = await startShops({ store, providerUrl: provider.url });
      const order = await shops.order();
      await shops.hidePurchases();

      const reply = await shops.confirm(order, { headers });

      expect(reply.status).toBe(202);
      expect(reply.body).toMatchObject({ success: true, data: { status: 'COMPLETE' } });
      expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
    });
  });

  describe('durable', () => {
    test('a provider that is slower than the time-out is asked again under the same key only, and the order is billed', async () => {
      const slow = gate();
      const provider = await startProvider({ clock: slow.clock, mode: 'toss', autoSession: true });
      const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
      const order = await shops.order();
      expect((await shops.confirm(order)).status).toBe(202);
      await until(async () => (await provider.confirms()).length > 1);
      expect(await shops.see(order)).toMatchObject({
        status: 'PENDING',
        payment: { outcome: 'in-progress' },
      });
      expect((await shops.confirm(order, { paymentKey: 'another-key' })).body).toMatchObject({
        status: 400,
        code: 'in-progress',
      });

      slow.open();

      await until(async () => (await shops.see(order)).status === 'COMPLETE');
      const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
      expect(new Set(keys)).toEqual(new Set([`${order.orderId}:1`]));
      expect(await provider.captures()).toBe(1);
      expect(await shops.sql('SELECT * FROM bill')).toHaveLength(1);
    });

    test('a database that fails after the charge: the member hears that nobody knows, and is billed when it is up', async () => {
      const provider = await startProvider({ mode: 'generous' });
      const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
      const order = await shops.order();
      await shops.breakBills();
      expect((await shops.confirm(order)).status).toBe(202);
      expect(await shops.see(order)).toMatchObject({
        status: 'PENDING',
        payment: { outcome: 'in-progress' },
      });
      await shops.mendBills();

      await until(async () => (await shops.see(order)).status === 'COMPLETE');

      const again = await shops.confirm(order);
      expect(again.status).toBe(200);
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect((await provider.confirms()).length).toBe(1);
      expect(await shops.sql('SELECT * FROM bill')).toHaveLength(1);
    });

    test('a bill that cannot be read after the purchase need not be: it was answered with when it was written', async () => {
      const provider = await startProvider();
      const shops = await startShops({ store, providerUrl: provider.url });
      const order = await shops.order();
      await shops.hidePurchases();

      const reply = await shops.confirm(order);

      expect(reply.status).toBe(200);
      expect(reply.body.data).toMatchObject({ purchase: { orderId: order.orderId, totalAmount: 1000 } });
      expect((await shops.confirm(order)).text).toBe(reply.text);
      expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
    });
  });

  describe.each(strategyNames)('%s', (strategy) => {
    const headers = { 'x-purchase-strategy': strategy };

    test('a provider that is down was not asked: the order can be paid when it is up', async () => {
      const provider = await startProvider();
      const shops = await startShops({ store, providerUrl: provider.url });
      const order = await shops.order();
      await provider.close();

      const reply = await shops.confirm(order, { headers });

      expect(reply.status).toBe(503);
      expect(reply.headers.get('retry-after')).toBe('1');
      expect(reply.body.message).toContain('charged nothing');
      expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: { outcome: 'not-sent' } });

      const url = new URL(provider.url);
      await startProvider({ host: url.hostname, port: Number(url.port) });
      expect((await shops.confirm(order, { headers })).status).toBe(200);
    });
  });
});

describe('looking a payment up', () => {
  const options = (baseUrl: string) => ({
    baseUrl,
    secretKey: 'test_sk_sandbox',
    timeoutMs: 1000,
    onMisconfigured: () => undefined,
  });
  const request = {
    paymentKey: 'pay-1',
    orderId: 'order-1',
    amount: 1000,
    currency: 'KRW',
    requestId: 'r-1',
  };

  test('an unknown confirmation is resolved once the provider knows', async () => {
    const slow = gate();
    const provider = await startProvider({ clock: slow.clock });
    const client = tossClient({ ...options(provider.url), timeoutMs: 300 });
    onTestFinished(() => client.close());
    const confirmed = await client.confirm(request);
    if (confirmed.outcome !== 'unknown') expect.fail(`it was ${confirmed.outcome}`);
    expect(await confirmed.resolve()).toMatchObject({ outcome: 'unknown' });
    slow.open();
    await until(async () => (await provider.captures()) === 1);
    expect(await confirmed.resolve()).toMatchObject({ outcome: 'done', value: { paymentKey: 'pay-1' } });
  });

  test('a payment of another order, amount or currency is not ours, and a provider that is down knows nothing', async () => {
    const provider = await startProvider();
    const client = tossClient(options(provider.url));
    onTestFinished(() => client.close());
    expect(await client.confirm(request)).toMatchObject({ outcome: 'done' });
    expect(await client.lookUp(request)).toMatchObject({ outcome: 'done' });
    for (const foreign of [{ orderId: 'order-2' }, { amount: 2000 }, { currency: 'USD' }]) {
      const found = await client.lookUp({ ...request, ...foreign });
      expect(found).toEqual({ outcome: 'not-found' });
    }
    expect(await client.lookUp({ ...request, paymentKey: 'pay-2' })).toEqual({ outcome: 'not-found' });
    await provider.close();
    expect(await client.lookUp(request)).toEqual({ outcome: 'unknown', code: 'ECONNREFUSED' });
  });
});
