import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import { newDatabase, sqlStores } from '../../../test/stores.ts';
import { shopSettings } from '../src/config.ts';
import { strategies as couponStrategies } from '../src/coupons/issue/index.ts';
import { strategies as purchaseStrategies } from '../src/lotto/purchase/index.ts';
import { openTables } from './database.ts';
import { startProvider, startShops } from './harness.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

const ENOUGH = {
  DATABASE_URL: 'postgres://x',
  PAYMENT_BASE_URL: 'http://x',
  PAYMENT_SECRET_KEY: 'test_sk_x',
};

describe('settings', () => {
  test.each([
    [{ HOST: '0.0.0.0' }, 'HOST must be a loopback address in demo mode, got "0.0.0.0"'],
    [{ PURCHASE_STRATEGY: 'luck' }, 'PURCHASE_STRATEGY must be one of none, in-memory'],
    [{ PURCHASE_STRATEGY: 'idempotency-key' }, 'REDIS_URL must be set for PURCHASE_STRATEGY=idempotency-key'],
    [{ COUPON_STRATEGY: 'luck' }, 'COUPON_STRATEGY must be one of none, mutex'],
    [{ COUPON_STRATEGY: 'redis-spin-lock' }, 'REDIS_URL must be set for COUPON_STRATEGY=redis-spin-lock'],
    [{ COUPON_STRATEGY: 'redis-lock' }, 'REDIS_URL must be set for COUPON_STRATEGY=redis-lock'],
    [{ COUPON_STRATEGY: 'redis-lock-fenced' }, 'REDIS_URL must be set for COUPON_STRATEGY=redis-lock-fenced'],
    [{ DISTRIBUTED_LOCK_STORE: 'redis' }, 'REDIS_URL must be set for DISTRIBUTED_LOCK_STORE=redis'],
    [{ DISTRIBUTED_LOCK_STORE: 'memory' }, 'DISTRIBUTED_LOCK_STORE must be one of redis, database'],
    [
      { DISTRIBUTED_LOCK_LEASE_MS: '0' },
      'DISTRIBUTED_LOCK_LEASE_MS must be a whole number from 10 to 600000, got "0"',
    ],
    [{ COUPON_STRATEGY: 'redis-counter' }, 'REDIS_URL must be set for COUPON_STRATEGY=redis-counter'],
    [
      { COUPON_REQUESTS_PER_MEMBER: '0' },
      'COUPON_REQUESTS_PER_MEMBER must be a whole number from 1 to 1000, got "0"',
    ],
    [
      { COUPON_REQUESTS_PER_MEMBER: '8', DATABASE_POOL_SIZE: '8' },
      'COUPON_REQUESTS_PER_MEMBER must be less than DATABASE_POOL_SIZE=8, got 8',
    ],
    [
      { COUPON_RETRY_ATTEMPTS: '0' },
      'COUPON_RETRY_ATTEMPTS must be a whole number from 1 to 100000, got "0"',
    ],
    [
      { COUPON_RESERVATION_MS: '60s' },
      'COUPON_RESERVATION_MS must be a whole number from 100 to 3600000, got "60s"',
    ],
    [
      { DATABASE_URL: 'mongodb://x' },
      'DATABASE_URL must be a postgres:// or mysql:// URL (MySQL 8 or MariaDB), got "mongodb://x"',
    ],
    [{ DATABASE_URL: 'oracle://u:p@ss/w@x' }, 'URL (MySQL 8 or MariaDB), got "oracle://***@x"'],
    [{ DATABASE_URL: 'lab:secret@host/shop' }, 'got "***@host/shop"'],
    [{ DATABASE_URL: 'oracle://x/y?password=secret' }, 'got "oracle://x/y?***"'],
    [
      { PURCHASE_LEASE_MS: '10000', PAYMENT_TIMEOUT_MS: '10000' },
      'PURCHASE_LEASE_MS must be more than PAYMENT_TIMEOUT_MS=10000, got 10000',
    ],
    [{ JWT_SECRET: 'x'.repeat(31) }, 'JWT_SECRET must be at least 32 printable ASCII characters'],
    [{ JWT_SECRET: `${'x'.repeat(40)} ` }, 'JWT_SECRET must be at least 32 printable ASCII characters'],
    [{ JWT_SECRET: 'x'.repeat(32), DEMO_MODE: '1' }, 'DEMO_MODE=1 must not be set with JWT_SECRET'],
    [{ JWT_SECRET: 'x'.repeat(32), LAB_MODE: '1' }, 'LAB_MODE=1 must not be set with JWT_SECRET'],
    [{ DEMO_MODE: '0' }, 'JWT_SECRET must be set with DEMO_MODE=0'],
    [{ DEMO_MODE: 'yes' }, 'DEMO_MODE must be 1 or 0, got "yes"'],
    [{ DEMO_MODE: '0', HOST: '0.0.0.0' }, 'HOST must be a loopback address in demo mode, got "0.0.0.0"'],
    [{ METRICS_TOKEN: 'x'.repeat(32) }, 'METRICS_TOKEN must not be set without JWT_SECRET'],
    [{ PAYMENT_TIMEOUT_MS: '5s' }, 'PAYMENT_TIMEOUT_MS must be a whole number from 100 to 120000, got "5s"'],
  ])('%o is refused by name', (env, message) => {
    expect(() => shopSettings({ ...ENOUGH, ...env })).toThrow(message);
  });

  test('beyond loopback it listens only where members have tokens, or where somebody says that nobody can reach it', () => {
    const secret = 'x'.repeat(32);
    for (const env of [{ JWT_SECRET: secret }, { JWT_SECRET: secret, DEMO_MODE: '0' }, { DEMO_MODE: '1' }]) {
      expect(shopSettings({ ...ENOUGH, HOST: '0.0.0.0', ...env })).toMatchObject({ HOST: '0.0.0.0' });
    }
    expect(shopSettings({ ...ENOUGH, DEMO_MODE: '1', LAB_MODE: '1' })).toMatchObject({ LAB_MODE: true });
  });

  test('a secret is not shown, not even a bad one', () => {
    const bad = { JWT_SECRET: 'short-canary', METRICS_TOKEN: 'short-canary' };
    expect(() => shopSettings({ ...ENOUGH, ...bad })).toThrow(/JWT_SECRET.*METRICS_TOKEN/s);
    try {
      shopSettings({ ...ENOUGH, ...bad });
    } catch (error) {
      expect(String(error)).not.toContain('canary');
    }
  });

  test('every strategy that needs no Redis may be chosen without one', () => {
    for (const [name, { needs }] of Object.entries(couponStrategies)) {
      if (needs === 'redis') continue;
      expect(shopSettings({ ...ENOUGH, COUPON_STRATEGY: name })).toMatchObject({ COUPON_STRATEGY: name });
    }
    for (const [name, { needs }] of Object.entries(purchaseStrategies)) {
      if (needs === 'redis') continue;
      expect(shopSettings({ ...ENOUGH, PURCHASE_STRATEGY: name })).toMatchObject({ PURCHASE_STRATEGY: name });
    }
  });

  test('the process ends with 254 and names every one', async () => {
    const shop = spawn(process.execPath, [MAIN], {
      env: { PATH: process.env.PATH, PORT: 'x' },
      stdio: 'pipe',
    });
    let said = '';
    shop.stderr.on('data', (text) => {
      said += text;
    });
    expect(await once(shop, 'close')).toEqual([254, null]);
    for (const name of ['PORT', 'DATABASE_URL', 'PAYMENT_BASE_URL', 'PAYMENT_SECRET_KEY'])
      expect(said).toContain(name);
  });
});

test('ping tells the instance, and ready that the store answers', async () => {
  const shops = await startShops({ instances: 2 });
  const ping = await shops.call('GET', '/ping', undefined, {}, 1);
  expect(ping.text).toBe('{"success":true,"status":200,"message":"ok","data":"lotto-back-2"}');
  expect((await shops.call('GET', '/health/live')).status).toBe(200);
  expect((await shops.call('GET', '/health/ready')).status).toBe(200);
});

test('a store that is gone: alive but not ready, orders and purchases fail in the envelope, nothing is asked', async () => {
  const provider = await startProvider();
  const shops = await startShops({ providerUrl: provider.url });
  const order = await shops.order();
  const database = new URL(shops.databaseUrl).pathname.slice(1);
  const admin = new pg.Client({ connectionString: inject('postgresUrl') });
  await admin.connect();
  await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false`);
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database]);
  await admin.end();

  expect((await shops.call('GET', '/health/live')).status).toBe(200);
  expect((await shops.call('GET', '/health/ready')).body).toMatchObject({ status: 503, code: 'not-ready' });
  for (const reply of [await shops.confirm(order), await shops.call('POST', '/api/orders', {})]) {
    expect(reply.body).toMatchObject({ success: false, status: 503, code: 'store-unavailable' });
    expect(reply.text).not.toContain(database);
  }
  expect(await provider.ledger()).toEqual([]);
});

test('a purchase whose client has gone is finished before the service ends', async () => {
  const provider = await startProvider();
  const shops = await startShops({ providerUrl: provider.url });
  const order = await shops.order();
  // It waits for the row when its client goes and the service is told to end: all of it is still to come.
  const holder = await shops.hold('SELECT * FROM lotto_publish FOR UPDATE');
  const client = new AbortController();
  const paying = fetch(`${shops.urls[0]}/api/tickets`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      lottoPublishId: order.lottoPublishId,
      purchaseHttpRequest: { orderId: order.orderId, paymentKey: 'pay-1' },
    }),
    signal: client.signal,
  });
  await until(async () => (await shops.waitingForLocks()) === 1);
  client.abort();
  await expect(paying).rejects.toThrow();
  const closed = shops.close();
  await holder.query('COMMIT');
  holder.release();
  await closed;
  expect(await shops.sql('SELECT status FROM lotto_publish')).toEqual([{ status: 'COMPLETE' }]);
  expect(await provider.captures()).toBe(1);
});

test('without lab mode, a request cannot choose its strategy, its test code or its id', async () => {
  const provider = await startProvider();
  const shops = await startShops({ providerUrl: provider.url, env: { LAB_MODE: '0' } });
  const reply = await shops.confirm(await shops.order(), {
    headers: {
      'x-purchase-strategy': 'none',
      'tosspayments-test-code': 'REJECT_CARD_PAYMENT',
      'x-request-id': 'chosen',
    },
  });
  expect(reply.status).toBe(200);
  expect(reply.headers.get('x-server-name')).toBeNull();
  const [row] = await shops.sql('SELECT DISTINCT strategy, request_id FROM order_status_audit');
  expect(row?.strategy).toBe('durable');
  expect(row?.request_id).not.toBe('chosen');
});

test('SIGTERM: a purchase in flight is finished and answered, then the process ends with 0', async () => {
  const provider = await startProvider({ latencyMinMs: 500, latencyMaxMs: 500 });
  const { url, shop } = await startProcess(provider.url);
  const post = (path: string, body: unknown) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const order = ((await (await post('/api/orders', {})).json()) as { data: Record<string, unknown> }).data;
  const paying = post('/api/tickets', {
    lottoPublishId: order.lottoPublishId,
    purchaseHttpRequest: { orderId: order.orderId, paymentKey: 'pay-1' },
  });
  await until(async () => (await provider.requests()) === 1);
  const ended = once(shop, 'close');
  shop.kill('SIGTERM');
  expect((await paying).status).toBe(200);
  expect(await ended).toEqual([0, null]);
  expect(await provider.captures()).toBe(1);
});

test.each(sqlStores)(
  'on %s, four instances that start at once on an empty database migrate it once',
  async (store) => {
    const shops = await startShops({ store, instances: 4 });
    const pings = await together(4, (instance) => shops.call('GET', '/ping', undefined, {}, instance));
    expect(new Set(pings.map(({ body }) => body.data)).size).toBe(4);
    const done = await shops.sql('SELECT name FROM kysely_migration ORDER BY name');
    const names = ['0001-lotto', '0002-coupons', '0003-fences', '0004-durable'];
    expect(done).toEqual(names.map((name) => ({ name })));
  },
);

test('on MySQL, who does not get the lock for migrations does not migrate', async () => {
  const databaseUrl = await newDatabase('mariadb');
  const { sql, hold, end } = openTables(databaseUrl);
  onTestFinished(end);
  const holder = await hold(`SELECT get_lock(concat('shop-migration-', sha1(database())), 0)`);
  let started = false;
  const starting = startShops({ databaseUrl }).then(() => {
    started = true;
  });
  const waiting = `SELECT id FROM information_schema.processlist WHERE state = 'User lock' AND db = database()`;
  await until(async () => (await sql(waiting)).length === 1);
  expect(await sql(`SHOW TABLES LIKE 'orders'`)).toEqual([]);
  // The server ends the wait, and says so with NULL and no error.
  const [waiter] = await sql(waiting);
  await sql(`KILL SOFT QUERY ${waiter?.id}`);
  await expect(starting).rejects.toThrow();
  expect(started).toBe(false);
  expect(await sql(`SHOW TABLES LIKE 'orders'`)).toEqual([]);
  holder.release();
});

test('another schema’s migrations are not taken for its own', async () => {
  const shops = await startShops();
  const database = shops.databaseUrl;
  await shops.sql('CREATE SCHEMA beside');
  const beside = await startShops({ databaseUrl: `${database}?options=-c%20search_path%3Dbeside` });
  expect((await beside.order()).lottoPublishId).toBe(1);
});

async function startProcess(providerUrl: string): Promise<{ url: string; shop: ChildProcess }> {
  const shop = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      DATABASE_URL: await newDatabase(),
      REDIS_URL: inject('redisUrl'),
      PAYMENT_BASE_URL: providerUrl,
      PAYMENT_SECRET_KEY: 'test_sk_sandbox',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void shop.kill('SIGKILL'));
  let log = '';
  shop.stdout.on('data', (text) => {
    log += text;
  });
  await until(
    () => /http:\/\/127\.0\.0\.1:\d+/.test(log),
    20_000,
    () => log,
  );
  return { url: /http:\/\/127\.0\.0\.1:\d+/.exec(log)?.[0] ?? '', shop };
}
