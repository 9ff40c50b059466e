import { expect, test } from 'vitest';
import { barrier } from '../../../../test/barrier.ts';
import { keepAsking, sendByWorkers } from '../../src/experiments/coupon-load.ts';
import { shuffled } from '../../src/experiments/seeded.ts';
import type { Target } from '../../src/racer/exchange.ts';
import { httpServer } from '../racer/servers.ts';

const limits = {
  answerTimeoutMs: 10_000,
  signal: new AbortController().signal,
  onProgress: () => undefined,
};
const request = (target: Target, path: string) => ({ target, method: 'POST', path, headers: {}, body: '' });

test('workers are all under way at once, each sends its next when it has its answer, on connections that are kept', async () => {
  let underWay = 0;
  let most = 0;
  const everyWorkerHasBegun = barrier(3);
  const { target, sockets } = await httpServer(async (_request, response) => {
    most = Math.max(most, ++underWay);
    await everyWorkerHasBegun();
    underWay--;
    response.end();
  });
  const answered: number[] = [];
  const requests = Array.from({ length: 10 }, (_, index) => request(target, `/${index}`));
  const exchanges = await sendByWorkers(requests, 3, {
    ...limits,
    onProgress: (count) => answered.push(count),
  });
  expect(exchanges.map((one) => one.request.path).sort()).toEqual(requests.map(({ path }) => path).sort());
  expect(exchanges.every(({ status }) => status === 200)).toBe(true);
  expect(most).toBe(3);
  expect(sockets).toHaveLength(3);
  expect(answered.at(-1)).toBe(10);
});

test('everybody asks until he has his answer, and nobody after it', async () => {
  const asked = new Map<string, number>();
  const { target } = await httpServer((incoming, response) => {
    const member = incoming.url?.split('?')[0] ?? '';
    const nth = (asked.get(member) ?? 0) + 1;
    asked.set(member, nth);
    response.writeHead(member === '/patient' && nth < 3 ? 400 : 200).end();
  });
  const asker = (path: string) => ({
    request: (nth: number) => request(target, `${path}?${nth}`),
    isAnswered: ({ status }: { status: number | undefined }) => status === 200,
  });
  const exchanges = await keepAsking([asker('/lucky'), asker('/patient')], 10_000, limits);
  expect(Object.fromEntries(asked)).toEqual({ '/lucky': 1, '/patient': 3 });
  expect(exchanges.map((one) => one.request.path).sort()).toEqual([
    '/lucky?1',
    '/patient?1',
    '/patient?2',
    '/patient?3',
  ]);
});

test('who never has his answer gives up, and an abort ends all waiting', async () => {
  const { target } = await httpServer((_request, response) => response.writeHead(400).end());
  const asker = { request: () => request(target, '/'), isAnswered: () => false };
  expect((await keepAsking([asker], 150, limits)).length).toBeGreaterThanOrEqual(1);

  const aborted = new AbortController();
  const silent = await httpServer(() => aborted.abort(new Error('enough')));
  const under = { ...limits, signal: aborted.signal };
  await expect(sendByWorkers([request(silent.target, '/')], 1, under)).rejects.toThrow('enough');
});

test('the seed alone decides the order, and everybody is in it', () => {
  const members = Array.from({ length: 100 }, (_, index) => index);
  const order = shuffled(members, 42);
  expect(order).toEqual(shuffled(members, 42));
  expect(order).not.toEqual(members);
  expect(order).not.toEqual(shuffled(members, 43));
  expect(order.toSorted((a, b) => a - b)).toEqual(members);
});
