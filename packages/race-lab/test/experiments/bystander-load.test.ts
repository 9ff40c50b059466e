import type { RequestListener } from 'node:http';
import { expect, test } from 'vitest';
import { barrier } from '../../../../test/barrier.ts';
import { keepPurchasing, sendBystanders } from '../../src/experiments/bystander-load.ts';
import type { PurchaseRequest } from '../../src/history/answer.ts';
import type { Target } from '../../src/racer/exchange.ts';
import { httpServer } from '../racer/servers.ts';

const { signal } = new AbortController();

const server = async (answer: RequestListener) => (await httpServer(answer)).target;

const ping = (target: Target) => ({ target, method: 'GET', path: '/ping', headers: {}, body: '' });

const purchase = (target: Target, orderId: string): PurchaseRequest => {
  const sent = {
    target,
    method: 'POST',
    path: '/api/tickets',
    headers: { 'x-member-id': '7' },
    body: orderId,
  };
  return { ...sent, orderId, paymentKey: orderId, requestId: `${orderId}-1` };
};

test('bystanders come when they are due, though none before them has been answered', async () => {
  // Who waited for an answer before he sent the next would wait for ever.
  const allHaveCome = barrier(10);
  const target = await server((_request, response) => void allHaveCome().then(() => response.end()));
  const load = { request: () => ping(target), startAfterMs: 0, durationMs: 200, signal };
  const { latencyMs, failed } = await sendBystanders(load);
  expect(failed).toBe(0);
  // The first had to wait for the tenth, which came nine times 20 ms later.
  expect(latencyMs?.max).toBeGreaterThanOrEqual(180);
});

test('bystanders who are turned away or lose their connection have failed, and count', async () => {
  let count = 0;
  const target = await server((request, response) => {
    count++;
    if (count === 1) request.socket.destroy();
    else response.writeHead(count === 2 ? 503 : 200).end();
  });
  const load = { request: () => ping(target), startAfterMs: 0, durationMs: 100, signal };
  expect(await sendBystanders(load)).toMatchObject({ failed: 2, latencyMs: { p50: expect.any(Number) } });
  expect(count).toBe(5);
});

test('each worker makes one purchase after the other, and all workers theirs at the same time', async () => {
  const bodies: string[] = [];
  let inFlight = 0;
  let most = 0;
  const everyWorkerHasBegun = barrier(3);
  const target = await server((request, response) => {
    most = Math.max(most, ++inFlight);
    let body = '';
    request.on('data', (text) => {
      body += text;
    });
    request.on('end', async () => {
      bodies.push(body);
      await everyWorkerHasBegun();
      inFlight--;
      response.end('{}');
    });
  });
  const orders = [
    ['a1', 'a2'],
    ['b1', 'b2'],
    ['c1', 'c2'],
  ];
  const work = orders.map((ofWorker) => ofWorker.map((orderId) => purchase(target, orderId)));
  const exchanges = await keepPurchasing({ work, rampMs: 0, durationMs: 60_000, signal });
  expect(bodies.toSorted()).toEqual(orders.flat());
  expect(bodies.slice(0, 3).toSorted()).toEqual(['a1', 'b1', 'c1']);
  expect(most).toBe(3);
  expect(exchanges).toHaveLength(6);
  expect(exchanges.every(({ status, error }) => status === 200 && error === undefined)).toBe(true);
});

test('a purchase whose connection is lost is an exchange that says so, and the next one is made', async () => {
  let count = 0;
  const target = await server((request, response) => {
    if (++count === 1) request.socket.destroy();
    else response.end();
  });
  const work = [[purchase(target, 'a'), purchase(target, 'b')]];
  const exchanges = await keepPurchasing({ work, rampMs: 0, durationMs: 60_000, signal });
  expect(exchanges).toMatchObject([
    { status: undefined, error: 'reset', request: { orderId: 'a' } },
    { status: 200, error: undefined, request: { orderId: 'b' } },
  ]);
});

test('aborted, both end at once', async () => {
  const target = await server(() => undefined);
  const aborted = new AbortController();
  const reason = new Error('ended by Ctrl-C');
  const load = { request: () => ping(target), startAfterMs: 0, durationMs: 600_000, signal: aborted.signal };
  const bystanders = sendBystanders(load);
  const work = [[purchase(target, 'a')]];
  const purchases = keepPurchasing({ work, rampMs: 0, durationMs: 600_000, signal: aborted.signal });
  const ended = [expect(bystanders).rejects.toBe(reason), expect(purchases).rejects.toBe(reason)];
  aborted.abort(reason);
  await Promise.all(ended);
});
