import { expect, test } from 'vitest';
import { barrier, until } from '../../../../test/barrier.ts';
import { FloodLostError, type FloodOrder, startFlood } from '../../src/experiments/coupon-flood-process.ts';
import type { Target } from '../../src/racer/exchange.ts';
import { httpServer } from '../racer/servers.ts';

const order = (target: Target, connections: number): FloodOrder => ({
  ...{ couponId: 'c-1', strategy: 'none', memberId: 7, connections },
  targets: [target],
});
const { signal } = new AbortController();

test('all connections are open before any asks, then all ask at once, and only what is no refusal is kept', async () => {
  let asked = 0;
  const allAsk = barrier(20);
  const { target, sockets } = await httpServer(async (request, response) => {
    const nth = ++asked;
    expect(request.url).toBe('/api/coupon/c-1');
    expect(request.headers['x-member-id']).toBe('7');
    await allAsk();
    response.statusCode = nth === 1 ? 200 : 429;
    response.setHeader('x-server-name', 'lotto-back-1');
    response.end(JSON.stringify(nth === 1 ? { data: { serialNumber: 1 } } : { code: 'too-many-requests' }));
  });
  const flood = await startFlood(order(target, 20), signal);
  await until(() => sockets.length === 20);
  expect(asked).toBe(0);
  flood.release();
  // Each asks again a second later.
  await until(() => asked > 20);
  const result = await flood.stop();
  expect(result.asked).toBe(asked);
  expect(result.effects).toMatchObject([
    { result: 'ok', status: 200, serialNumber: 1, memberId: 7, couponId: 'c-1', instance: 'lotto-back-1' },
  ]);
  expect(result.refusals).toEqual({ 'too-many-requests': asked - 1 });
  expect(sockets).toHaveLength(20);
});

test('a flood whose front door is closed is an error, and an aborted one is gone', async () => {
  await expect(startFlood(order({ host: '127.0.0.1', port: 1 }, 2), signal)).rejects.toThrow(FloodLostError);

  const { target, sockets } = await httpServer(() => undefined);
  const aborted = new AbortController();
  const flood = await startFlood(order(target, 3), aborted.signal);
  flood.release();
  const stopped = flood.stop();
  aborted.abort(new Error('enough'));
  await expect(stopped).rejects.toThrow('enough');
  await until(() => sockets.every((socket) => socket.destroyed));
});
