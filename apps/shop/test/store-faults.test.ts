import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { startProxy } from '../../../test/proxy.ts';
import { newDatabase } from '../../../test/stores.ts';
import type { StrategyName } from '../src/lotto/purchase/index.ts';
import { type Commits, refusableCommits } from './commits.ts';
import {
  auditOf,
  gate,
  type OrderRef,
  type Shops,
  startProvider,
  startShops,
  untilFileEnds,
} from './harness.ts';

/** The strategies that claim in the database before they charge. */
const claiming: StrategyName[] = [
  'conditional-update',
  'unique-claim',
  'optimistic-retry',
  'pessimistic',
  'pessimistic-status',
  'pessimistic-held',
  'distributed-lock-fenced',
  'durable',
];

const ROW = 'SELECT * FROM lotto_publish FOR UPDATE';

type Provider = Awaited<ReturnType<typeof startProvider>>;

/** What anybody's purchases have left up to now. */
async function leftIn(shops: Shops, provider: Provider) {
  return {
    asked: await provider.ledger(),
    keys: await shops.sql('SELECT * FROM purchase_key'),
    calls: await shops.sql('SELECT * FROM pawl_durable_call'),
    bills: (await shops.sql('SELECT * FROM bill')).length,
  };
}

/** Since `before` nothing was asked, nothing is half done, and the order can still be paid. */
async function expectUntouched(
  shops: Shops,
  provider: Provider,
  before: Awaited<ReturnType<typeof leftIn>>,
  paid: readonly { readonly order: OrderRef; readonly headers: Record<string, string> }[],
) {
  for (const { order } of paid) {
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });
    expect(await auditOf(shops, order)).toEqual([]);
  }
  expect(await leftIn(shops, provider)).toEqual(before);
  for (const { order, headers } of paid) {
    const reply = await shops.confirm(order, { headers });
    expect([headers, reply.status]).toEqual([headers, 200]);
  }
  expect((await leftIn(shops, provider)).bills).toBe(before.bills + paid.length);
}

const billsOf = (shops: Shops, { lottoPublishId }: OrderRef) =>
  shops.sql('SELECT * FROM bill WHERE lotto_publish_id = ?', [lottoPublishId]);

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  const ends = untilFileEnds();
  const slow = gate();
  let provider: Provider;
  let shops: Shops;
  /** On the same database, where nobody waits for a lock for long. */
  let impatient: Shops;
  beforeAll(async () => {
    provider = await startProvider({ clock: slow.clock }, ends);
    shops = await startShops({ store, providerUrl: provider.url, ends });
    const { databaseUrl } = shops;
    const env = { LOCK_WAIT_MS: '100' };
    impatient = await startShops({ databaseUrl, providerUrl: provider.url, env, ends });
    slow.open();
  });

  const requestsFor = async ({ orderId }: OrderRef) =>
    (await provider.confirms()).filter((asked) => asked.orderId === orderId).length;

  test('the isolation level is chosen: READ COMMITTED, whatever the server’s default', async () => {
    const ready = await shops.call('GET', '/health/ready');
    const level = ready.headers.get('x-transaction-isolation');
    expect(level?.replace('-', ' ').toLowerCase()).toBe('read committed');
    const plain = await startShops({ databaseUrl: shops.databaseUrl, env: { LAB_MODE: '0' } });
    const { headers } = await plain.call('GET', '/health/ready');
    expect(headers.get('x-transaction-isolation')).toBeNull();
  });

  test('statements that the client gives up in the middle of the claim leave nothing of it, with every strategy', async () => {
    const provider = await startProvider();
    const databaseUrl = await newDatabase(store);
    const proxy = await startProxy(databaseUrl);
    onTestFinished(() => proxy.close());
    const behind = await startShops({
      databaseUrl: Object.assign(new URL(databaseUrl), { port: String(proxy.port) }).href,
      providerUrl: provider.url,
      // The server gives up after that, and the client two seconds later: long enough to see them all wait.
      env: { LOCK_WAIT_MS: '20000', DATABASE_STATEMENT_TIMEOUT_MS: '2000' },
    });
    const shops = await startShops({ databaseUrl, providerUrl: provider.url });
    const paid = await Promise.all(
      claiming.map(async (strategy) => ({
        order: await shops.order(),
        headers: { 'x-purchase-strategy': strategy },
      })),
    );
    const before = await leftIn(shops, provider);
    const holder = await shops.hold(ROW);
    const confirming = paid.map(({ order, headers }) => behind.confirm(order, { headers }));
    await until(async () => (await shops.waitingForLocks()) === claiming.length);

    proxy.fallSilent();

    for (const reply of await Promise.all(confirming)) {
      expect(reply.body).toMatchObject({ status: 503, code: 'store-unavailable' });
    }
    // The server hears of it, and rolls back.
    await proxy.close();
    await holder.query('ROLLBACK');
    holder.release();
    await until(async () => (await shops.waitingForLocks()) === 0);
    await expectUntouched(shops, provider, before, paid);
  });

  describe.each(claiming)('%s', (strategy) => {
    const headers = { 'x-purchase-strategy': strategy };

    test('a lock that is not granted in time is a refusal, and the order can be paid later', async () => {
      const order = await impatient.order();
      const before = await leftIn(shops, provider);
      const holder = await shops.hold(ROW);

      const reply = await impatient.confirm(order, { headers });

      expect(reply.body).toMatchObject({ status: 400, code: 'lock-timeout' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(impatient, provider, before, [{ order, headers }]);
    });

    test('a connection that is killed in the middle of the claim leaves nothing of it', async () => {
      const order = await shops.order();
      const before = await leftIn(shops, provider);
      const holder = await shops.hold(ROW);
      const confirming = shops.confirm(order, { headers });
      await until(async () => (await shops.waitingForLocks()) === 1);

      await shops.killWaiting();

      expect((await confirming).body).toMatchObject({ status: 503, code: 'store-unavailable' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(shops, provider, before, [{ order, headers }]);
    });

    test('the victim of a deadlock tries again, or is refused; nothing is half done', async () => {
      const order = await shops.order();
      const before = await leftIn(shops, provider);
      // It has the order, and wants the publish; the claim has the publish, and wants the order for its audit.
      const rival = await shops.holdAgainst('SELECT * FROM orders FOR UPDATE');
      const confirming = shops.confirm(order, { headers });
      await until(async () => (await shops.waitingForLocks()) === 1);

      await rival.query('SELECT * FROM lotto_publish FOR UPDATE');
      await rival.query('ROLLBACK');
      rival.release();

      const reply = await confirming;
      if (strategy === 'pessimistic-held') {
        // Its transaction reaches across the charge, so it cannot be tried again.
        expect(reply.body).toMatchObject({ status: 400, code: 'contended' });
        await expectUntouched(shops, provider, before, [{ order, headers }]);
      } else {
        expect(reply.status).toBe(200);
        expect(await auditOf(shops, order)).toEqual(['WAITING → PENDING', 'PENDING → COMPLETE']);
      }
      expect(await requestsFor(order)).toBe(1);
    });

    test('a deadlock after the charge: the record is tried again, the payment is not', async () => {
      if (strategy === 'pessimistic-held') return; // It has had its locks since before the charge.
      slow.close();
      const order = await shops.order();
      const confirming = shops.confirm(order, { headers });
      await until(() => slow.waiting() === 1);
      const rival = await shops.holdAgainst('SELECT * FROM orders FOR UPDATE');
      slow.open();
      await until(async () => (await shops.waitingForLocks()) === 1);

      await rival.query('SELECT * FROM lotto_publish FOR UPDATE');
      await rival.query('ROLLBACK');
      rival.release();

      expect((await confirming).status).toBe(200);
      expect(await auditOf(shops, order)).toEqual(['WAITING → PENDING', 'PENDING → COMPLETE']);
      expect(await billsOf(shops, order)).toHaveLength(1);
      expect(await requestsFor(order)).toBe(1);
    });
  });

  test('a lock that keeps orders from being made is a refusal too', async () => {
    const orders = await shops.sql('SELECT * FROM orders');
    const holder = await shops.hold('SELECT * FROM lotto_round_info FOR UPDATE');
    const reply = await impatient.call('POST', '/api/orders', {});
    expect(reply.body).toMatchObject({ status: 400, code: 'lock-timeout' });
    await holder.query('ROLLBACK');
    holder.release();
    expect(await shops.sql('SELECT * FROM orders')).toEqual(orders);
    await impatient.order();
  });

  test('a migration that was killed half way is completed by the next start', async () => {
    const databaseUrl = await newDatabase(store);
    const first = await startShops({ databaseUrl });
    await first.close();
    // As it stands when the process dies after some tables: MySQL keeps those.
    for (const table of ['order_status_audit', 'bill', 'purchase', 'kysely_migration']) {
      await first.sql(`DROP TABLE ${table}`);
    }
    const second = await startShops({ databaseUrl });
    expect((await second.call('GET', '/health/ready')).status).toBe(200);
    const third = await startShops({ databaseUrl, providerUrl: provider.url });
    expect((await third.confirm(await third.order())).status).toBe(200);
  });

  test('so is one that was killed between the tables that it changes', async () => {
    const databaseUrl = await newDatabase(store);
    const first = await startShops({ databaseUrl });
    await first.close();
    await first.sql('ALTER TABLE coupon DROP COLUMN fence');
    await first.sql('ALTER TABLE lotto_round_info DROP COLUMN called_off_at');
    await first.sql('DROP TABLE stray_capture');
    await first.sql(`DELETE FROM kysely_migration WHERE name IN ('0003-fences', '0004-durable')`);
    const second = await startShops({ databaseUrl });
    expect(await second.sql('SELECT fence FROM coupon')).toEqual([]);
    expect(await second.sql('SELECT called_off_at FROM lotto_round_info')).toEqual([{ called_off_at: null }]);
    expect(await second.sql('SELECT refunded_at FROM stray_capture')).toEqual([]);
    const order = await second.order();
    const [publish] = await second.sql('SELECT fence, attempt FROM lotto_publish WHERE order_id = ?', [
      order.orderId,
    ]);
    expect(Number(publish?.fence)).toBe(0);
    expect(publish?.attempt).toBe(1);
  });

  test('keys are compared byte by byte, and a foreign key without its order is refused', async () => {
    const insert = (key: string, order: string) =>
      shops.sql('INSERT INTO purchase_key (payment_key, order_id) VALUES (?, ?)', [key, order]);
    const orders = await Promise.all([shops.order(), shops.order(), shops.order(), shops.order()]);
    const keys = ['Abc', 'abc', 'Abc ', 'Äbc'];
    for (const [index, key] of keys.entries()) await insert(key, orders[index]?.orderId ?? '');
    const written = await shops.sql(
      'SELECT * FROM purchase_key WHERE order_id IN (?, ?, ?, ?)',
      orders.map(({ orderId }) => orderId),
    );
    expect(written).toHaveLength(4);
    await expect(insert('other', 'no-such-order')).rejects.toThrow();
  });
});

describe.each(['postgres', 'mariadb'] as const)('on %s, whose COMMIT is refused', (store) => {
  const ends = untilFileEnds();
  const slow = gate();
  let provider: Provider;
  let commits: Commits;
  let shops: Shops;
  beforeAll(async () => {
    provider = await startProvider({ clock: slow.clock, mode: 'generous' }, ends);
    commits = await refusableCommits(store, 'lotto_publish', ends);
    shops = await startShops({
      ends,
      databaseUrl: commits.databaseUrl,
      providerUrl: provider.url,
      // Longer than the tests: until then a purchase is its owner's, and recovery leaves it alone.
      env: { LOCK_WAIT_MS: '100', PURCHASE_LEASE_MS: '600000' },
    });
    slow.open();
  });

  const capturesOf = async ({ orderId }: OrderRef) =>
    (await provider.ledger()).filter((event) => event.type === 'capture' && event.orderId === orderId).length;

  test.each(claiming)('%s: nothing of the claim is left, and nobody was asked', async (strategy) => {
    const headers = { 'x-purchase-strategy': strategy };
    const order = await shops.order();
    const before = await leftIn(shops, provider);
    await commits.refuse();

    const reply = await shops.confirm(order, { headers });

    await commits.allow();
    if (strategy === 'pessimistic-held') {
      // It has charged by then: nobody may hear that nothing came of it.
      expect(reply.status).toBe(202);
      expect(await capturesOf(order)).toBe(1);
      return;
    }
    // MariaDB waits for the commit lock, and tells of it as of any other.
    expect([400, 503]).toContain(reply.status);
    expect(['lock-timeout', 'store-unavailable']).toContain(reply.body.code);
    await expectUntouched(shops, provider, before, [{ order, headers }]);
  });

  test.each(['conditional-update', 'durable'])(
    '%s, after the charge: the order shows that nobody knows, and is not charged again',
    async (strategy) => {
      const headers = { 'x-purchase-strategy': strategy };
      slow.close();
      const order = await shops.order();
      const confirming = shops.confirm(order, { headers });
      await until(() => slow.waiting() === 1);
      await commits.refuse();
      slow.open();

      expect((await confirming).status).toBe(202);

      await commits.allow();
      expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });
      expect((await shops.confirm(order, { headers })).status).toBe(400);
      expect(await capturesOf(order)).toBe(1);
      expect(await billsOf(shops, order)).toEqual([]);
    },
  );
});
