import { beforeAll, describe, expect, test } from 'vitest';
import { type OrderRef, type Shops, startProvider, startShops, untilFileEnds } from './harness.ts';

const ends = untilFileEnds();
let provider: Awaited<ReturnType<typeof startProvider>>;
let shops: Shops;
beforeAll(async () => {
  provider = await startProvider({}, ends);
  shops = await startShops({ providerUrl: provider.url, ends });
});

/** Sends what must not be accepted, and expects the code, an untouched order, and a provider that heard nothing. */
async function refuses(
  send: (shops: Shops, order: OrderRef) => Promise<{ status: number; text: string }>,
  expected: { status: number; code: string },
): Promise<string> {
  const order = await shops.order();
  const before = { rows: await snapshot(shops), asked: await provider.ledger() };

  const reply = await send(shops, order);

  expect(JSON.parse(reply.text)).toMatchObject({ success: false, data: null, ...expected });
  expect(reply.status).toBe(expected.status);
  expect({ rows: await snapshot(shops), asked: await provider.ledger() }).toEqual(before);
  return JSON.parse(reply.text).message;
}

const TABLES = [
  'orders',
  'lotto_publish',
  'lotto_ticket',
  'purchase_key',
  'pawl_durable_call',
  'purchase',
  'bill',
  'order_status_audit',
];

async function snapshot(shops: Shops): Promise<unknown> {
  const tables = await Promise.all(TABLES.map((table) => shops.sql(`SELECT * FROM ${table} ORDER BY 1`)));
  return Object.fromEntries(TABLES.map((table, index) => [table, tables[index]]));
}

const confirmation = (order: OrderRef, change: object = {}, requestChange: object = {}) => ({
  lottoPublishId: order.lottoPublishId,
  purchaseHttpRequest: { orderId: order.orderId, paymentKey: 'pay-1', ...requestChange },
  ...change,
});
const post = (shops: Shops, body: unknown, headers?: Record<string, string>) =>
  shops.call('POST', '/api/tickets', body, headers);

describe('a confirmation is refused, and leaves nothing behind', () => {
  test('for an order that does not exist', async () => {
    const body = { lottoPublishId: 1, purchaseHttpRequest: { orderId: 'no-such-order', paymentKey: 'p' } };
    await refuses((shops) => post(shops, body), { status: 404, code: 'order-not-found' });
  });

  test("for another member's order, in the same words as for one that does not exist", async () => {
    const foreign = await refuses(
      (shops, order) => post(shops, confirmation(order), { 'x-member-id': '2' }),
      {
        status: 404,
        code: 'order-not-found',
      },
    );
    const unknown = await refuses(
      (shops, order) => post(shops, confirmation(order, {}, { orderId: 'no-such-order' })),
      { status: 404, code: 'order-not-found' },
    );
    expect(foreign).toBe(unknown);
  });

  test("for a publish that is not its order's", async () => {
    await refuses(
      async (shops, order) => post(shops, confirmation(order, { lottoPublishId: order.lottoPublishId + 1 })),
      { status: 400, code: 'publish-mismatch' },
    );
  });

  test('for an amount that is not the order’s', async () => {
    await refuses((shops, order) => post(shops, confirmation(order, {}, { amount: 1 })), {
      status: 400,
      code: 'amount-mismatch',
    });
  });

  test('for a round that has closed since the order', async () => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    const order = await shops.order();
    await shops.closeSales();
    const reply = await shops.confirm(order);
    expect(reply.body).toMatchObject({ status: 400, code: 'round-closed' });
    expect(await provider.ledger()).toEqual([]);
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });
  });

  const invalid: [string, (order: OrderRef) => unknown][] = [
    ['a payment key of 201 characters', (order) => confirmation(order, {}, { paymentKey: 'k'.repeat(201) })],
    ['an empty payment key', (order) => confirmation(order, {}, { paymentKey: '' })],
    ['a NUL in the payment key', (order) => confirmation(order, {}, { paymentKey: 'a\u0000b' })],
    ['a line break in the payment key', (order) => confirmation(order, {}, { paymentKey: 'a\r\nb' })],
    ['a letter that is not ASCII', (order) => confirmation(order, {}, { paymentKey: 'kęy' })],
    ['an order id of 65 characters', (order) => confirmation(order, {}, { orderId: 'o'.repeat(65) })],
    ['an order id with a quote', (order) => confirmation(order, {}, { orderId: "x' OR '1'='1" })],
    ['an id as text', (order) => confirmation(order, { lottoPublishId: String(order.lottoPublishId) })],
    ['an id that is no whole number', (order) => confirmation(order, { lottoPublishId: 1.5 })],
    ['a negative id', (order) => confirmation(order, { lottoPublishId: -1 })],
    [
      'an id beyond what a number holds',
      (order) =>
        JSON.stringify(confirmation(order)).replace(
          /"lottoPublishId":\d+/,
          '"lottoPublishId":9007199254740993',
        ),
    ],
    [
      'an infinite amount',
      (order) =>
        JSON.stringify(confirmation(order, {}, { amount: 1 })).replace('"amount":1', '"amount":1e400'),
    ],
    ['a negative amount', (order) => confirmation(order, {}, { amount: -1000 })],
    ['a fractional amount', (order) => confirmation(order, {}, { amount: 1000.5 })],
    ['an amount as text', (order) => confirmation(order, {}, { amount: '1000' })],
    ['an unknown field', (order) => confirmation(order, { price: 1 })],
    ['an unknown field inside', (order) => confirmation(order, {}, { status: 'COMPLETE' })],
    ['an array', (order) => [confirmation(order)]],
    ['a number', () => 7],
    ['null', () => null],
    ['an empty object', () => ({})],
    ['an array for the inner object', (order) => confirmation(order, { purchaseHttpRequest: [] })],
    ['an object for the order id', (order) => confirmation(order, {}, { orderId: { $ne: null } })],
    ['broken JSON', () => '{"lottoPublishId": 1,'],
    ['an empty body', () => ''],
  ];
  test.each(invalid)('with %s', async (_name, body) => {
    await refuses((shops, order) => post(shops, body(order) === null ? 'null' : body(order)), {
      status: 400,
      code: 'invalid-request',
    });
  });

  test('with another media type', async () => {
    await refuses(
      (shops) => post(shops, 'orderId=1', { 'content-type': 'application/x-www-form-urlencoded' }),
      {
        status: 415,
        code: 'unsupported-media-type',
      },
    );
  });

  test('with a body of 2 MB', async () => {
    const body = (order: OrderRef) =>
      JSON.stringify({ ...confirmation(order), padding: 'x'.repeat(2_000_000) });
    await refuses((shops, order) => post(shops, body(order)), { status: 413, code: 'body-too-large' });
  });

  test('with JSON nested ten thousand deep', async () => {
    await refuses((shops) => post(shops, `${'['.repeat(10_000)}${']'.repeat(10_000)}`), {
      status: 400,
      code: 'invalid-request',
    });
  });

  test('with a member id that is none', async () => {
    for (const member of ['0', '-1', '1.5', 'me', '1, 2', '9'.repeat(16)]) {
      await refuses((shops, order) => post(shops, confirmation(order), { 'x-member-id': member }), {
        status: 400,
        code: 'invalid-request',
      });
    }
  });

  test('with a strategy, or a step to stop at, that does not exist', async () => {
    await refuses((shops, order) => post(shops, confirmation(order), { 'x-lab-stop-at': 'nowhere' }), {
      status: 400,
      code: 'invalid-request',
    });
    await refuses((shops, order) => post(shops, confirmation(order), { 'x-purchase-strategy': 'luck' }), {
      status: 400,
      code: 'invalid-request',
    });
  });
});

test.each(['conditional-update', 'durable'])(
  '%s: an order that is paid is not paid again, with the same payment key or another',
  async (strategy) => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    const order = await shops.order();
    const headers = { 'x-purchase-strategy': strategy };
    const paid = await shops.confirm(order, { headers });
    expect(paid.status).toBe(200);
    const again = await shops.confirm(order, { headers });
    if (strategy === 'durable') {
      // The same request is given the same answer, and nothing is done.
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect(again.text).toBe(paid.text);
    } else {
      expect(again.body).toMatchObject({ status: 400, code: 'already-done' });
    }
    const other = await shops.confirm(order, { headers, paymentKey: 'another-key' });
    expect(other.body).toMatchObject({ status: 400, code: 'already-done' });
    expect(await provider.requests()).toBe(1);
    expect(await shops.sql('SELECT * FROM bill')).toHaveLength(1);
  },
);

describe('an order is refused, and leaves nothing behind', () => {
  const create = (body: unknown, headers?: Record<string, string>) => (shops: Shops) =>
    shops.call('POST', '/api/orders', body, headers);

  test('for an unknown round', async () => {
    await refuses(create({ lottoRoundInfoId: 999 }), { status: 400, code: 'unknown-round' });
  });

  test('for a closed round', async () => {
    const shops = await startShops();
    await shops.sql(
      `INSERT INTO lotto_round_info VALUES (2, now() - interval '2 days', now() - interval '1 day')`,
    );
    await shops.sql(
      `INSERT INTO lotto_round_info VALUES (3, now() + interval '1 day', now() + interval '2 days')`,
    );
    for (const lottoRoundInfoId of [2, 3]) {
      const reply = await shops.call('POST', '/api/orders', { lottoRoundInfoId });
      expect(reply.body).toMatchObject({ status: 400, code: 'round-closed' });
    }
    expect(await shops.sql('SELECT * FROM orders')).toEqual([]);
  });

  test('for a wrong amount', async () => {
    await refuses(create({ quickPick: 2, amount: 1000 }), { status: 400, code: 'amount-mismatch' });
  });

  const ticket = [1, 2, 3, 4, 5, 6];
  test.each([
    ['five numbers', { tickets: [[1, 2, 3, 4, 5]] }],
    ['seven numbers', { tickets: [[1, 2, 3, 4, 5, 6, 7]] }],
    ['a number twice', { tickets: [[1, 2, 3, 4, 5, 5]] }],
    ['tickets nested five thousand deep', `{"tickets":${'['.repeat(5_000)}${']'.repeat(5_000)}}`],
    ['the number 0', { tickets: [[0, 2, 3, 4, 5, 6]] }],
    ['the number 46', { tickets: [[1, 2, 3, 4, 5, 46]] }],
    ['a number as text', { tickets: [['1', 2, 3, 4, 5, 6]] }],
    ['no ticket', { tickets: [], quickPick: 0 }],
    ['101 tickets', { quickPick: 101 }],
    ['101 tickets in two ways', { tickets: [ticket], quickPick: 100 }],
    ['101 given tickets', { tickets: Array(101).fill(ticket) }],
    ['a negative number of tickets', { quickPick: -1 }],
    ['a round as text', { lottoRoundInfoId: '1' }],
    ['an unknown field', { price: 0 }],
  ])('with %s', async (_name, body) => {
    await refuses(create(body), { status: 400, code: 'invalid-request' });
  });
});

describe('what is another member’s is not found', () => {
  test('orders and bills, over the whole matrix of members and objects', async () => {
    const members = ['1', '2', '3'];
    const paths: { owner: string; path: string }[] = [];
    for (const owner of members) {
      const headers = { 'x-member-id': owner };
      const order = await shops.order({}, headers);
      const bill = await shops.confirm(order, { headers });
      paths.push({ owner, path: `/api/orders/${order.orderId}` });
      paths.push({ owner, path: `/api/tickets/${bill.body.data.id}` });
    }
    for (const { owner, path } of paths) {
      for (const member of members) {
        const reply = await shops.call('GET', path, undefined, { 'x-member-id': member });
        expect(reply.status, `${member} asks for ${path} of ${owner}`).toBe(member === owner ? 200 : 404);
      }
    }
  });

  test.each(['/api/orders/no-such-order', '/api/tickets/999999'])('%s', async (path) => {
    expect((await shops.call('GET', path)).body).toMatchObject({ success: false, status: 404 });
  });

  test.each(['/api/orders/x', '/api/tickets/0', '/api/tickets/abc', '/api/tickets/1e3'])(
    '%s is malformed',
    async (path) => {
      expect((await shops.call('GET', path)).body).toMatchObject({ status: 400, code: 'invalid-request' });
    },
  );

  test.each(['/api/orders/%zz', '/%', `/api/orders/${'x'.repeat(400)}`])(
    '%s cannot be read',
    async (path) => {
      const reply = await shops.call('GET', path);
      expect(reply.body).toMatchObject({ success: false, status: reply.status, code: 'invalid-request' });
      expect(reply.text.length).toBeLessThan(200);
    },
  );

  test('an unknown route', async () => {
    expect((await shops.call('GET', '/api/nothing?secret=1')).body).toMatchObject({
      status: 404,
      code: 'not-found',
    });
  });
});
