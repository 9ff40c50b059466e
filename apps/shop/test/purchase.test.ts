import { describe, expect, test } from 'vitest';
import { together } from '../../../test/barrier.ts';
import { type StrategyName, strategyNames } from '../src/lotto/purchase/index.ts';
import { auditOf, startProvider, startShops } from './harness.ts';

const WRONG: StrategyName[] = ['none', 'in-memory', 'optimistic', 'optimistic-retry-inside'];
const right = strategyNames.filter((name) => !WRONG.includes(name));

describe.each(strategyNames)('%s, one request at a time', (strategy) => {
  const headers = { 'x-purchase-strategy': strategy };

  test('pays an order, once, and shows the bill', async () => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    const order = await shops.order({ tickets: [[6, 5, 4, 3, 2, 1]], quickPick: 2, amount: 3000 });

    const reply = await shops.confirm(order, { paymentKey: 'pay-1', headers });

    expect(reply.status).toBe(200);
    expect(reply.body.data).toMatchObject({
      purchase: {
        totalAmount: 3000,
        paymentKey: 'pay-1',
        orderId: order.orderId,
        status: 'SUCCESS',
        purchaseProvider: 'TOSS',
        method: 'CARD',
      },
      lottoPublish: { id: order.lottoPublishId, lotto_round_info_id: 1, status: 'COMPLETE' },
    });
    const bill = await shops.call('GET', `/api/tickets/${reply.body.data.id}`);
    expect(bill.body.data).toEqual(reply.body.data);
    const seen = await shops.see(order);
    expect(seen).toMatchObject({ status: 'COMPLETE', amount: 3000, payment: { outcome: 'captured' } });
    expect(seen.tickets).toHaveLength(3);
    expect(seen.tickets).toContainEqual([1, 2, 3, 4, 5, 6]);
    expect(await auditOf(shops, order)).toEqual(['WAITING → PENDING', 'PENDING → COMPLETE']);

    const again = await shops.confirm(order, { paymentKey: 'pay-1', headers });
    if (strategy === 'idempotency-key') {
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect(again.text).toBe(reply.text);
    } else {
      expect(again.status).toBe(400);
    }
    expect(await provider.requests()).toBe(1);
    expect(await provider.captures()).toBe(1);
  });

  test('gives the order back after a decline, and then takes another payment', async () => {
    const provider = await startProvider();
    const shops = await startShops({ providerUrl: provider.url });
    const order = await shops.order();

    const declined = await shops.confirm(order, {
      paymentKey: 'pay-1',
      headers: { ...headers, 'tosspayments-test-code': 'REJECT_CARD_PAYMENT' },
    });

    expect(declined.body).toMatchObject({ status: 400, code: 'declined' });
    expect(declined.body.message).toContain('REJECT_CARD_PAYMENT');
    expect(await shops.see(order)).toMatchObject({
      status: 'WAITING',
      payment: { paymentKey: 'pay-1', outcome: 'declined', code: 'REJECT_CARD_PAYMENT' },
    });
    expect(await provider.captures()).toBe(0);

    expect((await shops.confirm(order, { paymentKey: 'pay-2', headers })).status).toBe(200);
    expect(await provider.captures()).toBe(1);
  });
});

describe('five confirmations at once, on two instances', () => {
  const race = async (strategy: StrategyName, paymentKeys?: string[]) => {
    const provider = await startProvider({ latencyMinMs: 100, latencyMaxMs: 200 });
    const shops = await startShops({ providerUrl: provider.url, instances: 2 });
    const order = await shops.order();
    const replies = await together(5, (index) =>
      shops.confirm(order, {
        instance: index % 2,
        paymentKey: paymentKeys?.[index] ?? order.orderId,
        headers: { 'x-purchase-strategy': strategy },
      }),
    );
    const statuses = replies.map(({ status }) => status).toSorted();
    return { statuses, requests: await provider.requests(), bills: await shops.sql('SELECT * FROM bill') };
  };

  test.each(right)('%s: one pays, four are refused, the provider is asked once', async (strategy) => {
    const { statuses, requests, bills } = await race(strategy);
    expect(statuses).toEqual([200, 400, 400, 400, 400]);
    expect(requests).toBe(1);
    expect(bills).toHaveLength(1);
  });

  test.each(right)('%s: five payment keys for one order pay once', async (strategy) => {
    const { statuses, requests, bills } = await race(strategy, ['k1', 'k2', 'k3', 'k4', 'k5']);
    expect(statuses).toEqual([200, 400, 400, 400, 400]);
    expect(requests).toBe(1);
    expect(bills).toHaveLength(1);
  });

  test('none: the provider is asked five times, and four members see a 500', async () => {
    const { statuses, requests } = await race('none');
    expect(requests).toBe(5);
    expect(statuses).toEqual([200, 500, 500, 500, 500]);
  });

  test('in-memory: the provider is asked by each instance', async () => {
    const { requests } = await race('in-memory');
    expect(requests).toBe(2);
  });
});

test('in-memory: on one instance five confirmations at once pay once', async () => {
  const provider = await startProvider({ latencyMinMs: 100, latencyMaxMs: 200 });
  const shops = await startShops({ providerUrl: provider.url });
  const order = await shops.order();
  const headers = { 'x-purchase-strategy': 'in-memory' };
  const replies = await together(5, () => shops.confirm(order, { headers }));
  expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 400, 400, 400, 400]);
  expect(await provider.requests()).toBe(1);
});

test.each(['conditional-update', 'unique-claim'] as const)(
  '%s: two orders that are confirmed with one payment key charge it for one order at most',
  async (strategy) => {
    const provider = await startProvider({ mode: 'toss', autoSession: true });
    const shops = await startShops({ providerUrl: provider.url });
    const orders = [await shops.order(), await shops.order()];
    const headers = { 'x-purchase-strategy': strategy };
    const replies = await Promise.all(
      orders.map((order) => shops.confirm(order, { paymentKey: 'shared', headers })),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(await provider.captures()).toBe(1);
    expect(await shops.sql('SELECT * FROM bill')).toHaveLength(1);
  },
);

test('idempotency-key: a payment that takes longer than the key lives is charged twice, as published', async () => {
  const provider = await startProvider({ mode: 'generous', latencyMinMs: 400, latencyMaxMs: 400 });
  const shops = await startShops({ providerUrl: provider.url, env: { IDEMPOTENCY_TTL_MS: '100' } });
  const order = await shops.order();
  const headers = { 'x-purchase-strategy': 'idempotency-key' };
  const first = shops.confirm(order, { headers });
  // Refused while the key lives; the first that is not refused has met an expired key.
  let second = await shops.confirm(order, { headers });
  while (second.status === 400) second = await shops.confirm(order, { headers });
  expect((await first).status).toBe(200);
  expect(await provider.captures()).toBe(2);
  expect(await shops.sql('SELECT * FROM bill')).toHaveLength(2);
});
