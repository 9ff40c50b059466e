import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { twoStores } from '../../../../test/stores.ts';
import { auditOf, gate, type OrderRef, startProvider, startShops } from '../harness.ts';
import { recordOf } from './records.ts';

const withKey = (key: string, more: Record<string, string> = {}) => ({ 'idempotency-key': key, ...more });

const raced = twoStores.flatMap((store) => [
  { store, how: 'by group commit', env: {} },
  { store, how: 'each in transactions of its own', env: { GROUP_COMMIT: '0' } },
]);

describe.each(raced)('the durable purchase, raced on $store, $how', ({ store, env }) => {
  test('five taps at once, over two instances: one bill, four refusals, one confirmation', async () => {
    const slow = gate();
    const provider = await startProvider({ clock: slow.clock });
    const shops = await startShops({ store, providerUrl: provider.url, instances: 2, env });
    const order = await shops.order();
    let answered = 0;
    const racing = Array.from({ length: 5 }, async (_, index) => {
      const reply = await shops.confirm(order, { instance: index % 2 });
      answered++;
      return reply;
    });
    await until(() => slow.waiting() === 1 && answered === 4);
    slow.open();
    const replies = await Promise.all(racing);
    const [paid, ...refused] = replies.toSorted((one, other) => one.status - other.status);
    expect(paid?.status).toBe(200);
    for (const { body } of refused) expect(body).toMatchObject({ status: 400, code: 'in-progress' });
    expect(await provider.requests()).toBe(1);
    expect(await provider.captures()).toBe(1);
    expect(await auditOf(shops, order)).toEqual(['WAITING → PENDING', 'PENDING → COMPLETE']);

    const again = await shops.confirm(order, { instance: 1 });
    expect(again.text).toBe(paid?.text);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const bill = await shops.call('GET', `/api/tickets/${again.body.data.id}`);
    expect(bill.body.data).toEqual(again.body.data);
  });

  /** Each tap comes from a payment window of its own, and the provider would take the money of both. */
  async function tapTwice(strategy: string, waiting: number) {
    const slow = gate();
    const provider = await startProvider({ clock: slow.clock, mode: 'toss' });
    const shops = await startShops({ store, providerUrl: provider.url, instances: 2, env });
    const order = await shops.order();
    let answered = 0;
    for (const paymentKey of ['tap-1', 'tap-2']) await provider.openSession({ ...order, paymentKey });
    const racing = ['tap-1', 'tap-2'].map(async (paymentKey, instance) => {
      const headers = { 'x-purchase-strategy': strategy };
      const reply = await shops.confirm(order, { paymentKey, instance, headers });
      answered++;
      return { paymentKey, ...reply };
    });
    await until(() => slow.waiting() === waiting && slow.waiting() + answered === 2);
    slow.open();
    return { provider, shops, order, replies: await Promise.all(racing) };
  }

  test('without a guard, two taps with two payment keys are charged twice', async () => {
    const { provider } = await tapTwice('none', 2);
    expect(await provider.captures()).toBe(2);
  });

  test('two taps with two payment keys pay once', async () => {
    const { provider, shops, order, replies } = await tapTwice('durable', 1);
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 400]);
    const loser = replies.find(({ status }) => status === 400);
    expect(loser?.body.code).toBe('in-progress');
    // Nothing is stored for who has not got the order, so he is told what has become of it since.
    const later = await shops.confirm(order, { paymentKey: loser?.paymentKey ?? '' });
    expect(later.body).toMatchObject({ status: 400, code: 'already-done' });
    expect(await provider.captures()).toBe(1);
    expect(await shops.sql('SELECT * FROM bill')).toHaveLength(1);
  });
});

describe.each(['postgres', 'mariadb'] as const)('the durable purchase, on %s', (store) => {
  test('the same request gets the same bytes, be it a decline or a bill, and has no further effect', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url, instances: 2 });
    const order = await shops.order();
    const first = {
      paymentKey: 'pay-1',
      headers: withKey('first', { 'tosspayments-test-code': 'REJECT_CARD_PAYMENT' }),
    };
    const second = { paymentKey: 'pay-2', headers: withKey('second') };
    const declined = await shops.confirm(order, first);
    expect(declined.body).toMatchObject({ status: 400, code: 'declined' });
    const before = await auditOf(shops, order);

    const declinedAgain = await shops.confirm(order, { ...first, instance: 1 });
    expect(await auditOf(shops, order)).toEqual(before);
    const billed = await shops.confirm(order, second);
    const billedAgain = await shops.confirm(order, { ...second, instance: 1 });
    const declinedLater = await shops.confirm(order, first);

    expect(billed.status).toBe(200);
    for (const [one, other] of [
      [declined, declinedAgain],
      [declined, declinedLater],
      [billed, billedAgain],
    ] as const) {
      expect([other.status, other.text]).toEqual([one.status, one.text]);
      expect(other.headers.get('content-type')).toBe(one.headers.get('content-type'));
      expect(other.headers.get('idempotency-replayed')).toBe('true');
    }
    // A further attempt is another payment to the provider.
    const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([`${order.orderId}:1`, `${order.orderId}:2`]);
    expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE', payment: { paymentKey: 'pay-2' } });
  });

  test('another payload under the same key is refused with 422, and has no effect', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url });
    const [order, other] = [await shops.order(), await shops.order()];
    const headers = withKey('the-key');
    const paid = await shops.confirm(order, { headers });
    expect(paid.status).toBe(200);
    const requests = await provider.requests();

    for (const reply of [
      await shops.confirm(other, { headers }),
      await shops.confirm(order, { headers, paymentKey: 'another-payment' }),
    ]) {
      expect(reply.body).toMatchObject({ status: 422, code: 'payload-mismatch' });
      expect(reply.text).not.toContain(String(paid.body.data.id));
    }
    expect(await shops.see(other)).toMatchObject({ status: 'WAITING', payment: null });
    expect(await auditOf(shops, other)).toEqual([]);
    expect(await provider.requests()).toBe(requests);
    // The key was refused, not the order.
    expect((await shops.confirm(other, { headers: withKey('its-own') })).status).toBe(200);
    // As the draft has it, in quotes: the same key.
    const quoted = await shops.confirm(other, { headers: withKey('"its-own"') });
    expect([quoted.status, quoted.headers.get('idempotency-replayed')]).toEqual([200, 'true']);
  });

  test('another member with the same key and order never sees the answer', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url });
    const order = await shops.order();
    const headers = withKey('the-key');
    const paid = await shops.confirm(order, { headers });
    expect(paid.status).toBe(200);

    const foreign = await shops.confirm(order, { headers: { ...headers, 'x-member-id': '2' } });
    expect(foreign.body).toMatchObject({ status: 404, code: 'order-not-found', data: null });
    expect(foreign.headers.get('idempotency-replayed')).toBeNull();
    // The key is his own, and stands for his own request.
    const own = await shops.order({}, { 'x-member-id': '2' });
    const reply = await shops.confirm(own, { headers: { ...headers, 'x-member-id': '2' } });
    expect(reply.status).toBe(200);
    expect(reply.body.data).toMatchObject({ purchase: { orderId: own.orderId } });
  });

  test('while its owner is at it, the same request is told so, and nothing of that is stored', async () => {
    const slow = gate();
    const provider = await startProvider({ clock: slow.clock });
    const shops = await startShops({ store, providerUrl: provider.url, instances: 2 });
    const order = await shops.order();
    const paying = shops.confirm(order, { headers: withKey('k') });
    await until(() => slow.waiting() === 1);
    const meanwhile = await shops.confirm(order, { headers: withKey('k'), instance: 1 });
    expect(meanwhile.body).toMatchObject({ status: 400, code: 'in-progress' });
    slow.open();
    const paid = await paying;
    expect((await shops.confirm(order, { headers: withKey('k'), instance: 1 })).text).toBe(paid.text);
  });

  test('of what was never sent nothing is stored: the same request may come again, as the next attempt', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url });
    const order = await shops.order();
    await provider.close();

    const reply = await shops.confirm(order, { headers: withKey('k') });

    expect(reply.body).toMatchObject({ status: 503, code: 'overloaded' });
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: { outcome: 'not-sent' } });
    expect(await recordOf(shops, order)).toEqual({});
    const url = new URL(provider.url);
    const again = await startProvider({ host: url.hostname, port: Number(url.port) });
    expect((await shops.confirm(order, { headers: withKey('k') })).status).toBe(200);
    const keys = (await again.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([`${order.orderId}:2`]);
  });
});

describe('the Idempotency-Key', () => {
  /** Byte by byte, since a client that knows HTTP would refuse to send most of these. */
  async function sendRaw(url: string, order: OrderRef, lines: string[]): Promise<string> {
    const { hostname, port } = new URL(url);
    const body = JSON.stringify({
      lottoPublishId: order.lottoPublishId,
      purchaseHttpRequest: { orderId: order.orderId, paymentKey: order.orderId },
    });
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const head = [
      'POST /api/tickets HTTP/1.1',
      `Host: ${hostname}`,
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      ...lines.map((line) => `Idempotency-Key: ${line}`),
    ];
    socket.write(Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
    return text(socket);
  }

  test('that is none is refused, and nothing is claimed or asked', async () => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    const order = await shops.order();
    const bad = {
      'nothing at all': [''],
      'two of them': ['k1', 'k2'],
      'two, joined': ['k1, k2'],
      'a space inside': ['a b'],
      '256 characters': ['k'.repeat(256)],
      'a NUL': ['a\0b'],
      'a control character': ['a\u0001b'],
      'a tabulator': ['a\tb'],
      'what is not ASCII': ['k\u00e9y'],
      'more than a request’s headers may have': ['k'.repeat(20_000)],
    };
    for (const [name, lines] of Object.entries(bad)) {
      const reply = await sendRaw(shops.urls[0] ?? '', order, lines);
      expect(reply, name).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });
    expect(await recordOf(shops, order)).toEqual({});
    expect(await provider.ledger()).toEqual([]);
  });

  test('of 1 or 255 characters of ASCII is one, and a letter’s case tells two apart', async () => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    for (const key of ['k', 'K', `"${'k'.repeat(253)}"`]) {
      expect(await sendRaw(shops.urls[0] ?? '', await shops.order(), [key]), key).toMatch(/^HTTP\/1\.1 200 /);
    }
  });
});
