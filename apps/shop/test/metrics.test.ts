import { expect, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { ask, newCoupon } from './coupons/coupons.ts';
import { type Shops, startProvider, startShops } from './harness.ts';

/** One sample a line: `name{labels} value`. */
async function samplesOf(shops: Shops, instance = 0) {
  const response = await fetch(`${shops.urls[instance]}/metrics`);
  expect(response.status).toBe(200);
  const text = await response.text();
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of samples)
    expect(line).toMatch(/^[a-z_][a-z0-9_]*({([a-z_]+="[^"\\]*",?)+})? [0-9.e+-]+$/i);
  /** The values of all samples of this name that have these labels. */
  const values = (name: string, labels: Record<string, string> = {}) =>
    samples
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) =>
        Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)),
      )
      .map((line) => Number(line.split(' ').at(-1)));
  return { text, samples, values };
}

test('purchases and coupons are counted by strategy and by what came of them, requests by route', async () => {
  const provider = await startProvider();
  const shops = await startShops({ providerUrl: provider.url });
  const by = (strategy: string) => ({ 'x-purchase-strategy': strategy });

  const order = await shops.order();
  for (const status of [200, 200])
    expect((await shops.confirm(order, { headers: by('durable') })).status).toBe(status);
  const declined = { ...by('durable'), 'tosspayments-test-code': 'REJECT_CARD_PAYMENT' };
  expect((await shops.confirm(await shops.order(), { headers: declined })).body.code).toBe('declined');
  const other = await shops.order();
  for (const status of [200, 400]) {
    expect((await shops.confirm(other, { headers: by('conditional-update') })).status).toBe(status);
  }
  await shops.confirm(other, { headers: { ...by('conditional-update'), 'x-member-id': '2' } });
  await provider.fault({ when: 'after', next: 1, fault: { kind: 'reset' } });
  expect((await shops.confirm(await shops.order(), { headers: by('unique-claim') })).status).toBe(202);
  await shops.breakBills();
  await shops.confirm(await shops.order(), { headers: by('conditional-update') });

  const coupon = await newCoupon(shops);
  for (const status of [200, 400]) expect((await ask(shops, coupon, { member: 7 })).status).toBe(status);
  // What a client makes up makes no labels.
  await shops.call('GET', '/api/made-up-4111111111111111');
  await shops.call('GET', '/api/orders/made-up-4111111111111111');

  const { values, text } = await samplesOf(shops);
  const purchases = (labels: Record<string, string>) => values('shop_purchases_total', labels);
  expect(purchases({ strategy: 'durable', outcome: 'done', replayed: 'false' })).toEqual([1]);
  expect(purchases({ strategy: 'durable', outcome: 'done', replayed: 'true' })).toEqual([1]);
  expect(purchases({ strategy: 'durable', outcome: 'refused', reason: 'declined' })).toEqual([1]);
  expect(purchases({ strategy: 'conditional-update', outcome: 'done' })).toEqual([1]);
  expect(purchases({ strategy: 'conditional-update', outcome: 'refused', reason: 'already-done' })).toEqual([
    1,
  ]);
  expect(
    purchases({ strategy: 'conditional-update', outcome: 'refused', reason: 'order-not-found' }),
  ).toEqual([1]);
  expect(purchases({ strategy: 'unique-claim', outcome: 'unknown' })).toEqual([1]);
  expect(purchases({ strategy: 'conditional-update', outcome: 'unknown' })).toEqual([1]);
  expect(values('shop_purchase_duration_count', { strategy: 'durable', outcome: 'done' })).toEqual([2]);

  const issues = (labels: Record<string, string>) => values('shop_coupon_issues_total', labels);
  expect(issues({ strategy: 'group-commit', outcome: 'done' })).toEqual([1]);
  expect(issues({ strategy: 'group-commit', outcome: 'refused', reason: 'already-issued' })).toEqual([1]);
  expect(values('shop_coupon_issue_duration_count', { outcome: 'done' })).toEqual([1]);
  // One after the other asked: two transactions, each for one of them, and nobody was left.
  const ofCoupons = { pawl_group: 'coupon', pawl_store: 'postgres' };
  expect(values('pawl_batch_size_count', ofCoupons)).toEqual([2]);
  expect(values('pawl_batch_size_sum', ofCoupons)).toEqual([2]);
  expect(values('pawl_batch_wait_count', ofCoupons)).toEqual([2]);
  expect(values('pawl_batch_left_sum', ofCoupons)).toEqual([0]);

  const requests = (labels: Record<string, string>) => values('http_server_request_duration_count', labels);
  const confirmations = { http_request_method: 'POST', http_route: '/api/tickets' };
  expect(requests({ ...confirmations, http_response_status_code: '202' })).toEqual([2]);
  expect(requests({ ...confirmations, http_response_status_code: '200' })).toEqual([3]);
  expect(requests({ http_route: '/api/orders/:orderId', http_response_status_code: '404' })).toEqual([1]);
  expect(requests({ http_response_status_code: '404' })).toHaveLength(3);

  // The library's own, and the process.
  expect(values('pawl_operations_total', { pawl_guard: 'durable-call' }).length).toBeGreaterThan(0);
  expect(values('db_client_connection_max')).toEqual([10]);
  expect(values('db_client_connection_used')).toEqual([expect.any(Number)]);
  expect(values('nodejs_eventloop_delay_max')).toEqual([expect.any(Number)]);

  for (const unbounded of [order.orderId, coupon, '4111111111111111', 'made-up', 'member']) {
    expect(text).not.toContain(unbounded);
  }
});

test('two instances in one process count for themselves, and a connection that is lent is seen', async () => {
  const shops = await startShops({ instances: 2, env: { DATABASE_POOL_SIZE: '6' } });
  await shops.order();
  const order = await shops.order();
  const created = { http_route: '/api/orders', http_response_status_code: '200' };
  expect((await samplesOf(shops, 0)).values('http_server_request_duration_count', created)).toEqual([2]);
  expect((await samplesOf(shops, 1)).values('http_server_request_duration_count', created)).toEqual([]);

  const holder = await shops.hold('SELECT * FROM lotto_publish FOR UPDATE');
  const waiting = shops.confirm(order, { instance: 1, headers: { 'x-purchase-strategy': 'pessimistic' } });
  await until(async () => (await shops.waitingForLocks()) === 1);
  // An instance's own work, recovery for one, takes a connection now and then.
  const used = async (instance: number) =>
    (await samplesOf(shops, instance)).values('db_client_connection_used');
  await until(async () => (await used(0))[0] === 0);
  await until(async () => (await used(1))[0] === 1);
  expect((await samplesOf(shops, 1)).values('db_client_connection_max')).toEqual([6]);
  holder.release();
  await waiting;
  await until(async () => (await used(1))[0] === 0);
});
