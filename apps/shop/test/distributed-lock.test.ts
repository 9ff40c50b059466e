import { beforeAll, describe, expect, inject, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import type { StrategyName } from '../src/lotto/purchase/index.ts';
import type { Step } from '../src/trace.ts';
import { auditOf, gate, type OrderRef, startProvider, startShops, untilFileEnds } from './harness.ts';
import { startOwnProcess } from './own-process.ts';

const stores = ['postgres', 'mariadb'] as const;
const ONCE = ['WAITING → PENDING', 'PENDING → COMPLETE'];

describe.each(stores)('on %s', (store) => {
  describe.each(['redis', 'database'] as const)('with the locks in: %s', (locks) => {
    const env = { DISTRIBUTED_LOCK_STORE: locks, DISTRIBUTED_LOCK_LEASE_MS: '200' };

    const ends = untilFileEnds();

    /** Two instances, of which one can stand still, before a provider that captures whatever it is asked. */
    async function openBench() {
      const provider = await startProvider({ mode: 'generous' }, ends);
      const shops = await startShops({ store, providerUrl: provider.url, env, ends });
      const stopping = await startOwnProcess(
        {
          ...env,
          DATABASE_URL: shops.databaseUrl,
          REDIS_URL: inject('redisUrl'),
          PAYMENT_BASE_URL: provider.url,
        },
        ends,
      );
      const instance = shops.join(stopping.url);

      /** An order is confirmed at an instance that stops after `step`, then at the other; the first goes on after that. */
      return async (strategy: StrategyName, step: Step) => {
        const order = await shops.order();
        const headers = { 'x-purchase-strategy': strategy };
        const before = await provider.captures();
        const first = shops.confirm(order, { instance, headers: { ...headers, 'x-lab-stop-at': step } });
        await stopping.stopped(first);
        const second = await shops.confirm(order, { instance: 0, headers });
        await stopping.goOn();
        const replies = [await first, second];
        return {
          answers: replies.map(({ status, body }) => body.code ?? status),
          captures: (await provider.captures()) - before,
          bills: (await shops.sql('SELECT id FROM bill WHERE lotto_publish_id = ?', [order.lottoPublishId]))
            .length,
          audit: await auditOf(shops, order),
        };
      };
    }

    let stopAt: Awaited<ReturnType<typeof openBench>>;
    beforeAll(async () => {
      stopAt = await openBench();
    });

    test('distributed-lock: who stops after he has read, for longer than his lease, charges again', async () => {
      for (const step of ['read', 'charged'] as const) {
        const { answers, captures, bills } = await stopAt('distributed-lock', step);
        expect({ step, answers, captures, bills }).toEqual({
          step,
          answers: [200, 200],
          captures: 2,
          bills: 2,
        });
      }
    });

    test('distributed-lock-fenced: he is refused before he charges, and charges nobody', async () => {
      for (const [step, code] of [
        ['locked', 'fenced'],
        ['registered', 'already-done'],
        ['read', 'fenced'],
      ] as const) {
        const seen = await stopAt('distributed-lock-fenced', step);
        expect({ step, ...seen }).toEqual({
          step,
          answers: [code, 200],
          captures: 1,
          bills: 1,
          audit: ONCE,
        });
      }
    });

    test('distributed-lock-fenced: nobody fences him off once he has claimed, however long he stands still', async () => {
      for (const [step, code] of [
        ['claimed', 'in-progress'],
        ['charged', 'in-progress'],
        ['committed', 'already-done'],
      ] as const) {
        const seen = await stopAt('distributed-lock-fenced', step);
        expect({ step, ...seen }).toEqual({
          step,
          answers: [200, code],
          captures: 1,
          bills: 1,
          audit: ONCE,
        });
      }
    });

    test('more orders at once than an instance has connections are all paid, and once', async () => {
      const provider = await startProvider({ mode: 'generous', latencyMinMs: 20, latencyMaxMs: 20 });
      const few = { DISTRIBUTED_LOCK_STORE: locks, DATABASE_POOL_SIZE: '6' };
      const shops = await startShops({ store, providerUrl: provider.url, instances: 2, env: few });
      const orders = await together(30, () => shops.order());
      const headers = { 'x-purchase-strategy': 'distributed-lock' };
      const replies = await together(60, (index) =>
        shops.confirm(orders[index >> 1] as OrderRef, { headers, instance: index % 2 }),
      );
      expect(replies.map(({ status }) => status).toSorted()).toEqual([
        ...Array(30).fill(200),
        ...Array(30).fill(400),
      ]);
      expect(await provider.captures()).toBe(30);
      expect(await shops.sql('SELECT id FROM bill')).toHaveLength(30);
    });

    test('who waits for longer than he may is refused, and asks nobody', async () => {
      const held = gate();
      const provider = await startProvider({ clock: held.clock });
      const waiting = { ...env, DISTRIBUTED_LOCK_WAIT_MS: '50' };
      const shops = await startShops({ store, providerUrl: provider.url, instances: 2, env: waiting });
      const order = await shops.order();
      const headers = { 'x-purchase-strategy': 'distributed-lock' };
      const first = shops.confirm(order, { headers, instance: 0 });
      await until(() => held.waiting() === 1);
      for (const instance of [0, 1]) {
        const late = await shops.confirm(order, { headers, instance });
        expect(late.body).toMatchObject({ status: 400, code: 'lock-timeout' });
      }
      held.open();
      expect((await first).status).toBe(200);
      expect(await provider.requests()).toBe(1);
    });
  });
});
