import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSandbox, type SandboxOptions } from '@pawl/payment-sandbox';
import { afterAll, inject, onTestFinished } from 'vitest';
import type { Ends } from '../../../test/ends.ts';
import { copiedDatabase, newDatabase, type SqlStore } from '../../../test/stores.ts';
import { startShop } from '../src/app.ts';
import { shopSettings } from '../src/config.ts';
import { migrate } from '../src/store/migrate.ts';
import { openTables } from './database.ts';
import { providerControls } from './provider-controls.ts';

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  body: { success: boolean; status: number; message: string; code?: string; data: Record<string, unknown> };
}

export interface OrderRef {
  orderId: string;
  lottoPublishId: number;
  amount: number;
}

export type { Ends };

/** For what all tests of a file share: it ends after the last of them, what was begun last first. At the top of the file. */
export function untilFileEnds(): Ends {
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });
  return (end) => {
    ends.push(end);
  };
}

/** Settings under which what a purchase leaves behind is recovered within a test's patience. */
export const RECOVERING = {
  PAYMENT_TIMEOUT_MS: '300',
  PURCHASE_LEASE_MS: '400',
  RECOVERY_EVERY_MS: '20',
  RECOVERY_PAUSE_MS: '20',
  RECOVERY_MAX_PAUSE_MS: '100',
} as const;

/** A clock for the provider in which nobody wakes before `open()`: its requests stay in flight until then. */
export function gate() {
  let opened = Promise.withResolvers<void>();
  let waiting = 0;
  return {
    clock: {
      nowMs: () => Date.now(),
      sleep: () => {
        waiting++;
        return opened.promise;
      },
    },
    /** Who has come since it was made, or closed. */
    waiting: () => waiting,
    open: () => opened.resolve(),
    close() {
      opened = Promise.withResolvers();
      waiting = 0;
    },
  };
}

/** A payment provider on a free port that takes no time unless told otherwise. Ends with the test, unless `ends` says when. */
export async function startProvider(options: Partial<SandboxOptions> = {}, ends: Ends = onTestFinished) {
  const folder = await mkdtemp(join(tmpdir(), 'shop-test-'));
  const sandbox = await createSandbox({
    port: 0,
    latencyMinMs: 0,
    latencyMaxMs: 0,
    logLevel: 'silent',
    ledgerFile: join(folder, 'ledger.jsonl'),
    ...options,
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= sandbox.close();
    return closed;
  };
  ends(async () => {
    await close();
    await rm(folder, { recursive: true });
  });
  return { url: sandbox.url, ...providerControls(sandbox.url), close };
}

let migrated: Promise<string> | undefined;

/** A new database, on PostgreSQL with the shop's tables: a copy takes a fifth of the time of making them. */
async function newTables(store: SqlStore = 'postgres'): Promise<string> {
  if (store !== 'postgres') return newDatabase(store);
  migrated ??= (async () => {
    const url = await newDatabase();
    await migrate(url, 'template');
    return url;
  })();
  return copiedDatabase(await migrated);
}

/** Instances of the shop on one new database, in this process. They end with the test, unless `ends` says when. */
export async function startShops(
  options: {
    providerUrl?: string;
    /** Where its new database is made. */
    store?: SqlStore;
    databaseUrl?: string;
    instances?: number;
    env?: Record<string, string>;
    ends?: Ends;
  } = {},
) {
  const { ends = onTestFinished } = options;
  const databaseUrl = options.databaseUrl ?? (await newTables(options.store));
  const shops = await Promise.all(
    Array.from({ length: options.instances ?? 1 }, (_, index) =>
      startShop(
        shopSettings({
          SERVER_NAME: `lotto-back-${index + 1}`,
          PORT: '0',
          DATABASE_URL: databaseUrl,
          REDIS_URL: inject('redisUrl'),
          PAYMENT_BASE_URL: options.providerUrl ?? 'http://127.0.0.1:1',
          PAYMENT_SECRET_KEY: 'test_sk_sandbox',
          LAB_MODE: '1',
          LOG_LEVEL: 'silent',
          // A test asks for a member as often as it likes, one after the other.
          COUPON_REQUESTS_WINDOW_MS: '0',
          ...options.env,
        }),
      ),
    ),
  );
  const urls = shops.map(({ url }) => url);
  const { end, ...tables } = openTables(databaseUrl);
  let closed: Promise<unknown> | undefined;
  const close = () => {
    closed ??= Promise.all(shops.map((shop) => shop.close()));
    return closed;
  };
  ends(async () => {
    await close();
    await end();
  });

  async function call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    instance = 0,
  ): Promise<Reply> {
    const response = await fetch(`${urls[instance]}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: JSON.parse(text) };
  }

  return {
    call,
    close,
    ...tables,
    databaseUrl,
    urls,
    /** Of each instance the same. */
    routes: shops[0]?.routes ?? [],
    /** Takes in an instance that runs elsewhere on the same database. @returns its number */
    join: (url: string) => urls.push(url) - 1,
    async order(body: unknown = {}, headers: Record<string, string> = {}): Promise<OrderRef> {
      const reply = await call('POST', '/api/orders', body, headers);
      if (reply.status !== 200) throw new Error(`no order: ${reply.text}`);
      return reply.body.data as unknown as OrderRef;
    },

    confirm: (
      order: OrderRef,
      request: { paymentKey?: string; headers?: Record<string, string>; instance?: number } = {},
    ) =>
      call(
        'POST',
        '/api/tickets',
        {
          lottoPublishId: order.lottoPublishId,
          purchaseHttpRequest: { orderId: order.orderId, paymentKey: request.paymentKey ?? order.orderId },
        },
        request.headers,
        request.instance,
      ),

    cancel: (order: OrderRef, headers?: Record<string, string>, instance?: number) =>
      call('POST', `/api/orders/${order.orderId}/cancel`, undefined, headers, instance),

    /** The order as its member sees it. */
    see: async (order: OrderRef) => (await call('GET', `/api/orders/${order.orderId}`)).body.data,
  };
}

export type Shops = Awaited<ReturnType<typeof startShops>>;

/** The statuses that an order went through, in order. */
export async function auditOf(shops: Shops, order: OrderRef): Promise<string[]> {
  const rows = await shops.sql(
    'SELECT from_status, to_status FROM order_status_audit WHERE order_id = ? ORDER BY id',
    [order.orderId],
  );
  return rows.map((row) => `${row.from_status} → ${row.to_status}`);
}

/** What the strategy did, in order. */
export function stepsOf({ headers }: Reply): string {
  return (headers.get('x-steps') ?? '').replaceAll(/=\d+/g, '');
}
