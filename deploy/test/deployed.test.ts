import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { type Cluster, startCluster } from '../../packages/race-lab/src/cluster/cluster.ts';
import type { Store } from '../../packages/race-lab/src/cluster/store.ts';
import { layOutImage } from './image-files.ts';
import { runScript } from './k6-stand-in/run-script.ts';

/*
 * What is deployed, on two instances: they and the payment provider run from nothing but what the image of `deploy/Dockerfile` holds,
 * so a file that it does not copy is missed here. Against them run its health check, and the scripts for k6, in Node through a
 * stand-in for the modules of k6.
 */

const tickets = new URL('../k6/tickets.ts', import.meta.url);
const coupons = new URL('../k6/coupons.ts', import.meta.url);

let cluster: Cluster;
const image = mkdtempSync(join(tmpdir(), 'pawl-image-'));

beforeAll(async () => {
  layOutImage(image);
  const mains = {
    shop: join(image, 'apps/shop/src/main.ts'),
    sandbox: join(image, 'apps/payment-sandbox/src/main.ts'),
  };
  const store = inject('postgresUrl') as Store;
  cluster = await startCluster({ instances: 2, store, gateway: 'as-published', seed: 42, mains });
});

afterAll(async () => {
  await cluster?.close();
  rmSync(image, { recursive: true });
});

/** The exit code of the image's health check, in a container that was told this port. */
async function healthCheck(port: string): Promise<unknown> {
  const check = spawn(process.execPath, ['deploy/healthy.ts'], { cwd: image, env: { PORT: port } });
  const [code] = await once(check, 'exit');
  return code;
}

const door = () => cluster.frontDoor.urls[0] ?? '';

test.each([
  ['an instance', () => cluster.instances[0]?.baseUrl],
  ['the payment provider', () => cluster.sandbox.baseUrl],
])('the health check of %s passes', async (_who, url) => {
  expect(await healthCheck(new URL(url() ?? '').port)).toBe(0);
});

test('the health check fails where nobody answers', async () => {
  expect(await healthCheck('1')).toBe(1);
});

test('tickets.ts: the shop’s own strategy answers one success and four refusals to each order', async () => {
  const summary = await runScript(tickets, { BASE_URL: door(), USERS: '2', ORDERS: '1' });
  expect(summary.thrown).toEqual([]);
  expect(summary.metrics).toMatchObject({ answers_200: 2, answers_400: 8, answers_500: 0, answers_other: 0 });
  expect(Object.entries(summary.thresholds).filter(([, holds]) => !holds)).toEqual([]);
  expect(Object.keys(summary.thresholds)).toHaveLength(6);
});

test('tickets.ts: without a guard its thresholds fail', async () => {
  const summary = await runScript(tickets, { BASE_URL: door(), USERS: '1', ORDERS: '1', STRATEGY: 'none' });
  expect(summary.metrics.answers_500).toBeGreaterThan(0);
  expect(summary.thresholds).toMatchObject({
    'exactly_one_success: rate==1': false,
    'answers_500: count==0': false,
  });
});

test('tickets.ts: where nobody takes an order, its thresholds fail', async () => {
  const summary = await runScript(tickets, { BASE_URL: 'http://127.0.0.1:1', ORDERS: '1' });
  expect(summary.thrown).toHaveLength(1);
  expect(summary.thresholds).toMatchObject({
    'exactly_one_success: rate==1': false,
    'answers_200: count==1': false,
  });
});

test('coupons.ts: of a crowd as many get one as there are', async () => {
  const summary = await runScript(coupons, { BASE_URL: door(), MEMBERS: '6', STOCK: '4' });
  expect(summary.thrown).toEqual([]);
  expect(summary.metrics).toMatchObject({ coupons_issued: 4, coupons_refused: 2, coupons_failed: 0 });
  expect(Object.entries(summary.thresholds).filter(([, holds]) => !holds)).toEqual([]);
});

test('coupons.ts: a shop that issues to everybody fails its thresholds; each of the crowd shows a token of his own', async () => {
  const shown: (string | undefined)[] = [];
  const shop = createServer((request, response) => {
    if (request.method === 'POST') shown.push(request.headers.authorization);
    response.end('{"data":{"id":"x","remaining":0}}');
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void shop.close());
  await once(shop, 'listening');
  const { port } = shop.address() as AddressInfo;
  const TOKENS_FILE = join(image, 'tokens');
  writeFileSync(TOKENS_FILE, 'first\nsecond\n');
  const env = { BASE_URL: `http://127.0.0.1:${port}`, STOCK: '1', TOKEN: 'operator', TOKENS_FILE };
  const summary = await runScript(coupons, env);
  expect(summary.thresholds).toMatchObject({
    'coupons_issued: count==1': false,
    'coupons_refused: count==1': false,
  });
  expect(shown[0]).toBe('Bearer operator');
  expect(shown.slice(1).toSorted()).toEqual(['Bearer first', 'Bearer second']);
});
