import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { startGuardian } from '../../packages/race-lab/src/cluster/guardian.ts';
import { newDatabase } from '../../test/stores.ts';
import { openHttpSockets } from '../src/groups/operations/http-sockets.ts';
import { PER_SECOND } from '../src/groups/operations/measure.ts';
import { measureShop } from '../src/groups/shop/index.ts';

describe('connections that are kept', () => {
  async function opened(answer: (body: string) => string) {
    let connections = 0;
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      const text = answer(body);
      response.statusCode = request.method === 'POST' ? 201 : 200;
      response.setHeader('content-length', Buffer.byteLength(text));
      // In two parts.
      response.write(text.slice(0, 1));
      setImmediate(() => response.end(text.slice(1)));
    });
    server.on('connection', () => connections++);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const sockets = openHttpSockets([url]);
    onTestFinished(() => {
      sockets.close();
      server.closeAllConnections();
      server.close();
    });
    return { sockets, server, count: () => connections };
  }

  test('are used again, one request at a time on each, and every answer is its own request’s', async () => {
    const { sockets, count } = await opened((body) => `“${body}”`);
    const ask = (body: string) => sockets.ask({ method: 'POST', path: '/', body });
    for (const body of ['a', 'b', 'c']) expect(await ask(body)).toEqual({ status: 201, body: `“${body}”` });
    expect(count()).toBe(1);
    const bodies = ['d', 'é', 'f'];
    const answers = await Promise.all(bodies.map(ask));
    expect(answers.map(({ body }) => body)).toEqual(bodies.map((body) => `“${body}”`));
    expect(count()).toBe(3);
  });

  test('that are lost are told, and others take their place', async () => {
    const { sockets, server, count } = await opened((body) => {
      if (body === 'drop') server.closeAllConnections();
      return 'ok';
    });
    const ask = (body: string) => sockets.ask({ method: 'POST', path: '/', body });
    await expect(ask('drop')).rejects.toThrow('the connection was closed');
    expect(await ask('again')).toEqual({ status: 201, body: 'ok' });
    expect(count()).toBe(2);
  });
});

test('the group shop starts a shop, pays an order, and everybody is answered as he must be', {
  timeout: 120_000,
}, async () => {
  const guardian = await startGuardian();
  onTestFinished(async () => void (await guardian.end()));
  const { signal } = new AbortController();
  const servers = { redis: inject('redisUrl'), postgres: await newDatabase(), mariadb: inject('mariadbUrl') };
  const context = { servers, guardian, directory: '', rounds: 1, signal, progress: () => undefined };
  const { parts, ratios } = await measureShop(context, { warmUpMs: 100, roundMs: 100 }, ['postgres']);

  expect(parts.map(({ part }) => part)).toEqual(['postgres, 64 connections']);
  const rows = parts.flatMap((part) => part.rows);
  expect(rows.map(({ row }) => row)).toEqual([
    '/ping',
    'coupon issue',
    'replayed purchase',
    'duplicate purchase',
  ]);
  for (const { row, wrong, firstError, figures } of rows) {
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  expect(Object.keys(ratios)).toEqual(['shop-issue-postgres', 'shop-refusal-postgres']);
});
