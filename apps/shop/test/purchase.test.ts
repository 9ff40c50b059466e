import { beforeAll, describe, expect, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import { type SqlStore, twoStores } from '../../../test/stores.ts';
import { type StrategyName, strategyNames } from '../src/lotto/purchase/index.ts';
import { type MovableClock, movableClock } from './coupons/movable-clock.ts';
import {
  auditOf,
  type Ends,
  gate,
  type OrderRef,
  type Shops,
  startProvider,
  startShops,
  stepsOf,
  untilFileEnds,
} from './harness.ts';

const DAY_MS = 86_400_000;

const WRONG: StrategyName[] = ['none', 'in-memory', 'optimistic', 'optimistic-retry-inside'];
const right = strategyNames.filter((name) => !WRONG.includes(name));
/** Right, and by something outside of the order's row: they check before they charge, and claim nothing. */
const OUTSIDE: StrategyName[] = ['idempotency-key', 'distributed-lock'];
/** Who waits for these locks is not seen. */
const LOCKS: StrategyName[] = ['distributed-lock', 'distributed-lock-fenced'];

const STEPS: Readonly<Record<StrategyName, string>> = {
  none: 'read,charged,committed',
  'in-memory': 'read,charged,committed',
  'conditional-update': 'claimed,charged,committed',
  'unique-claim': 'claimed,charged,committed',
  optimistic: 'read,claimed,charged,committed',
  'optimistic-retry-inside': 'read,claimed,charged,committed',
  'optimistic-retry': 'read,claimed,charged,committed',
  pessimistic: 'locked,claimed,charged,committed',
  'pessimistic-status': 'locked,claimed,charged,committed',
  'pessimistic-held': 'locked,charged,committed',
  'idempotency-key': 'read,charged,committed',
  'distributed-lock': 'locked,read,charged,committed,unlocked',
  'distributed-lock-fenced': 'locked,registered,read,claimed,charged,committed,unlocked',
  // Its claim and charge are steps of the library, which marks none.
  durable: 'committed',
};

/** Two instances, and a provider that answers nobody while its gate is closed. */
async function openBench({
  ends,
  ...options
}: {
  ends?: Ends;
  store: SqlStore;
  env?: Record<string, string>;
}) {
  const provider = gate();
  const sandbox = await startProvider({ clock: provider.clock }, ends);
  const shops = await startShops({
    ...options,
    providerUrl: sandbox.url,
    instances: 2,
    ...(ends && { ends }),
  });
  return {
    provider,
    shops,
    /** How often money was asked for, and taken, for an order. */
    async asked({ orderId }: OrderRef) {
      const events = await sandbox.ledger();
      const count = (type: 'request' | 'capture') =>
        events.filter((event) => event.type === type && event.orderId === orderId).length;
      return { requests: count('request'), captures: count('capture') };
    },
    billsOf: ({ lottoPublishId }: OrderRef) =>
      shops.sql('SELECT * FROM bill WHERE lotto_publish_id = ?', [lottoPublishId]),
  };
}

type Bench = Awaited<ReturnType<typeof openBench>>;

describe.each(twoStores)('on %s', (store) => {
  const ends = untilFileEnds();
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench({ store, ends });
  });

  describe.each(strategyNames)('%s, one request at a time', (strategy) => {
    const headers = { 'x-purchase-strategy': strategy };

    test('pays an order, once, and shows the bill', async () => {
      const { provider, shops, asked } = bench;
      provider.open();
      const order = await shops.order({ tickets: [[6, 5, 4, 3, 2, 1]], quickPick: 2, amount: 3000 });
      const paymentKey = `pay-${order.orderId}`;

      const reply = await shops.confirm(order, { paymentKey, headers });

      expect(reply.status).toBe(200);
      expect(stepsOf(reply)).toBe(STEPS[strategy]);
      expect(reply.body.data).toMatchObject({
        purchase: {
          totalAmount: 3000,
          paymentKey,
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
      const [publish] = await shops.sql('SELECT version FROM lotto_publish WHERE id = ?', [
        order.lottoPublishId,
      ]);
      expect(publish?.version).toBeGreaterThan(0);

      const again = await shops.confirm(order, { paymentKey, headers });
      if (strategy === 'idempotency-key' || strategy === 'durable') {
        expect(again.headers.get('idempotency-replayed')).toBe('true');
        expect(again.text).toBe(reply.text);
      } else {
        expect(again.status).toBe(400);
      }
      expect(await asked(order)).toEqual({ requests: 1, captures: 1 });
    });

    test('gives the order back after a decline, and then takes another payment', async () => {
      const { provider, shops, asked } = bench;
      provider.open();
      const order = await shops.order();
      const [first, second] = [`pay-1-${order.orderId}`, `pay-2-${order.orderId}`];

      const declined = await shops.confirm(order, {
        paymentKey: first,
        headers: { ...headers, 'tosspayments-test-code': 'REJECT_CARD_PAYMENT' },
      });

      expect(declined.body).toMatchObject({ status: 400, code: 'declined' });
      expect(declined.body.message).toContain('REJECT_CARD_PAYMENT');
      expect(await shops.see(order)).toMatchObject({
        status: 'WAITING',
        payment: { paymentKey: first, outcome: 'declined', code: 'REJECT_CARD_PAYMENT' },
      });
      expect((await asked(order)).captures).toBe(0);

      expect((await shops.confirm(order, { paymentKey: second, headers })).status).toBe(200);
      expect((await asked(order)).captures).toBe(1);
    });
  });

  /**
   * Five confirmations of one order. The provider answers nobody before each of the five has got as far as it can
   * get: it waits for the provider, waits for a lock, or has its answer. Where who waits for a lock is not seen, before one
   * waits for the provider.
   */
  async function raceFive(
    strategies: StrategyName[],
    options: { paymentKeys?: string[]; instances?: number; on?: Bench } = {},
  ) {
    const { paymentKeys, instances = 2, on = bench } = options;
    const { provider, shops, asked, billsOf } = on;
    provider.close();
    const order = await shops.order();
    let answered = 0;
    const racing = together(5, async (index) => {
      const reply = await shops.confirm(order, {
        instance: index % instances,
        paymentKey: `${paymentKeys?.[index] ?? 'pay'}-${order.orderId}`,
        headers: { 'x-purchase-strategy': strategies[index % strategies.length] ?? 'none' },
      });
      answered++;
      return reply;
    });
    const seen = async () => provider.waiting() + answered + (await shops.waitingForLocks());
    const unseen = strategies.some((name) => LOCKS.includes(name));
    await until(async () => (unseen ? provider.waiting() > 0 : (await seen()) === 5));
    provider.open();
    const replies = await racing;
    return {
      statuses: replies.map(({ status }) => status).toSorted(),
      ...(await asked(order)),
      bills: await billsOf(order),
      audit: await auditOf(shops, order),
    };
  }

  const ONCE = {
    statuses: [200, 400, 400, 400, 400],
    requests: 1,
    captures: 1,
    bills: [expect.anything()],
    audit: ['WAITING → PENDING', 'PENDING → COMPLETE'],
  };

  describe('five confirmations at once, on two instances', () => {
    test.each(right)('%s: one pays, four are refused, the provider is asked once', async (strategy) => {
      expect(await raceFive([strategy])).toEqual(ONCE);
    });

    test.each(right)('%s: five payment keys for one order pay once', async (strategy) => {
      expect(await raceFive([strategy], { paymentKeys: ['k1', 'k2', 'k3', 'k4', 'k5'] })).toEqual(ONCE);
    });

    describe('while bills cannot be written', () => {
      const ends = untilFileEnds();
      let on: Bench;
      beforeAll(async () => {
        // Nobody recovers what the durable purchase leaves, beside the next one's race.
        on = await openBench({ store, ends, env: { RECOVERY_EVERY_MS: '3600000' } });
        await on.shops.breakBills();
      });

      test.each(right)(
        '%s: a charge that cannot be recorded is not repeated by those who wait',
        async (strategy) => {
          const { statuses, captures, audit } = await raceFive([strategy], { on });
          expect(captures).toBe(1);
          expect(statuses).toEqual([202, 400, 400, 400, 400]);
          expect(audit).toEqual(['WAITING → PENDING']);
        },
      );
    });

    test('distributed-lock, fenced or not: the same where the lock is in the database', async () => {
      const on = await openBench({ store, env: { DISTRIBUTED_LOCK_STORE: 'database' } });
      for (const strategy of LOCKS) expect(await raceFive([strategy], { on }), strategy).toEqual(ONCE);
    });

    test('distributed-lock, fenced or not: the same in a shop without Redis', async () => {
      const on = await openBench({ store, env: { REDIS_URL: '' } });
      for (const strategy of LOCKS) expect(await raceFive([strategy], { on }), strategy).toEqual(ONCE);
    });

    test('none: the provider is asked five times, and four members see a 500', async () => {
      const { statuses, requests } = await raceFive(['none']);
      expect(requests).toBe(5);
      expect(statuses).toEqual([200, 500, 500, 500, 500]);
    });

    test('in-memory: the provider is asked by each instance', async () => {
      expect((await raceFive(['in-memory'])).requests).toBe(2);
    });

    test('in-memory: on one instance, once', async () => {
      expect(await raceFive(['in-memory'], { instances: 1 })).toEqual(ONCE);
    });

    // As while instances with the next setting replace those with the last one.
    test.each(
      right
        .filter((name) => name !== 'optimistic-retry' && !OUTSIDE.includes(name))
        .map((name) => [name, 'optimistic-retry'] as StrategyName[]),
    )('%s and %s beside each other pay once', async (...strategies) => {
      expect(await raceFive(strategies)).toEqual(ONCE);
    });
  });

  test('unique-claim: a payment key that belongs to another order is refused, and only that order is charged', async () => {
    const provider = await startProvider({ mode: 'generous' });
    const shops = await startShops({ store, providerUrl: provider.url });
    const [first, second] = [await shops.order(), await shops.order()];
    const headers = { 'x-purchase-strategy': 'unique-claim' };
    expect((await shops.confirm(first, { paymentKey: 'shared', headers })).status).toBe(200);
    expect((await shops.confirm(second, { paymentKey: 'shared', headers })).body).toMatchObject({
      status: 422,
      code: 'payload-mismatch',
    });
    expect(await provider.requests()).toBe(1);
    expect(await shops.see(second)).toMatchObject({ status: 'WAITING' });
    expect((await shops.confirm(second, { headers })).status).toBe(200);
  });

  describe('a sale that ends', () => {
    const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString();
    const ends = untilFileEnds();
    let clock: MovableClock;
    let provider: Awaited<ReturnType<typeof startProvider>>;
    let shops: Shops;
    beforeAll(async () => {
      provider = await startProvider({}, ends);
      // The round opens when the shop starts, by a clock that is not moved.
      clock = await movableClock(store, inDays(1), ends);
      shops = await startShops({ databaseUrl: clock.databaseUrl, providerUrl: provider.url, ends });
      await shops.sql('UPDATE lotto_round_info SET sales_close_at = ?', [inDays(3).slice(0, 10)]);
    });

    // The strategies that do not claim in the database check before they charge, and no later.
    test.each(right.filter((name) => !OUTSIDE.includes(name)))(
      '%s: one that closes between the check and the claim is not claimed',
      async (strategy) => {
        await clock.moveTo(inDays(1));
        const order = await shops.order();
        // The row is held until the sale has closed, so that the claim waits past the end.
        const holder = await shops.hold('SELECT * FROM lotto_publish FOR UPDATE');
        const confirming = shops.confirm(order, { headers: { 'x-purchase-strategy': strategy } });
        await until(async () => (await shops.waitingForLocks()) === 1);
        await clock.moveTo(inDays(5));
        await holder.query('COMMIT');
        holder.release();
        // What decides about it is read when it has the row, so it is told as if it had come too late.
        const code = strategy === 'durable' ? 'round-closed' : 'not-open';
        expect((await confirming).body).toMatchObject({ status: 400, code });
        expect(await provider.ledger()).toEqual([]);
        expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });
      },
    );
  });

  test('idempotency-key: a payment that takes longer than the key lives is charged twice, as published', async () => {
    const provider = await startProvider({ mode: 'generous', latencyMinMs: 400, latencyMaxMs: 400 });
    const shops = await startShops({ store, providerUrl: provider.url, env: { IDEMPOTENCY_TTL_MS: '100' } });
    const order = await shops.order();
    const headers = { 'x-purchase-strategy': 'idempotency-key' };
    const first = shops.confirm(order, { headers });
    // Or the other would have the key, and the first would be refused.
    await until(async () => (await provider.requests()) === 1);
    // Refused while the key lives; the first that is not refused has met an expired key.
    let second = await shops.confirm(order, { headers });
    while (second.status === 400) second = await shops.confirm(order, { headers });
    expect((await first).status).toBe(200);
    expect(await provider.captures()).toBe(2);
    expect(await shops.sql('SELECT * FROM bill')).toHaveLength(2);
  });
});
