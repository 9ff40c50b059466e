import type { DurableCall } from 'pawl';
import type { CaptureJudgement } from '../../src/lotto/purchase/durable/rows.ts';
import { LOOK_UP_LAG_MS } from '../clock.ts';
import type { Mutant } from '../mutant.ts';
import { keyOf } from '../store.ts';
import { instead, ofOrderA, plain, releaseAsNotFound } from './where.ts';

/** Rules of giving money back. */

export const oneRefundKey: Mutant = {
  name: 'one refund key for all tries',
  harm: 'a refusal that is recorded under the key is given again for ever',
  where: { ...plain, replaysErrors: true, cancels: 1, wishes: ofOrderA },
  seed: 1,
  rules: () => ({ compensationToken: ({ subject, attempt }, name) => `${subject}:${attempt}:${name}` }),
};

export const noRefundLease: Mutant = {
  name: 'REFUNDING without a lease',
  harm: 'whoever gives it back dies, and nobody ever takes it over',
  where: { ...plain, cancels: 1, wishes: ofOrderA },
  seed: 1,
  store({ store }) {
    const endless = (id: DurableCall['id']) => {
      const record = store.records.get(keyOf(id));
      if (record?.call.state !== 'compensating') return;
      store.records.put({ undo: [] }, keyOf(id), { ...record, leaseUntil: undefined });
    };
    return {
      ...store,
      async settle(id, fence, decide) {
        const settled = await store.settle(id, fence, decide);
        if (settled.outcome === 'done') endless(id);
        return settled;
      },
      async reopen(attempt, decide) {
        const reopened = await store.reopen(attempt, decide);
        if (reopened.outcome === 'done') endless(reopened.value.id);
        return reopened;
      },
    };
  },
};

export const refundingReleased: Mutant = {
  name: 'REFUNDING released on not found',
  harm: 'the look-up lagged behind: the money is kept, and the order is given back',
  where: { ...plain, lookUpLagMs: LOOK_UP_LAG_MS, wishes: ofOrderA },
  seed: 8,
  alsoAllowed: ['REFUNDING → WAITING'],
  rules: () =>
    instead((_, heard) =>
      heard.of === 'compensation-look-up' && heard.found.outcome === 'not-found'
        ? releaseAsNotFound
        : undefined,
    ),
  rows: ({ rows }) => ({
    ...rows,
    async release(trx, attempt, note) {
      const order = rows.orders.get(attempt.orderId);
      if (order?.status !== 'REFUNDING') return rows.release(trx, attempt, note);
      rows.orders.put(trx, attempt.orderId, { ...order, status: 'WAITING', attempt: order.attempt + 1 });
    },
  }),
};

export const databaseFirst: Mutant = {
  name: 'reconciliation reads the database first',
  harm: 'the attempt that it knew was released, and it gives back what the next one has paid',
  where: { ...plain, reconciliations: 1, wishes: ofOrderA },
  seed: 76,
  async reconciliation(reconciliation, { actor, rows }) {
    await actor.at('reads the orders and purchases');
    const before = new Map([...rows.orders.all()].map((order) => [order.orderId, order]));
    const bought = new Set([...rows.purchases.all()].map(({ bill }) => bill.purchase.paymentKey));
    await actor.at('has read the orders and purchases');
    const judgeCapture = async (
      _: unknown,
      { orderId, paymentKey }: { readonly orderId: string; readonly paymentKey: string },
    ): Promise<CaptureJudgement> => {
      const order = before.get(orderId);
      if (order === undefined) return { judged: 'unknown-order' };
      const isCurrent = order.paymentKey === paymentKey && order.status !== 'WAITING';
      if (isCurrent || bought.has(paymentKey)) return { judged: 'accounted-for' };
      const { memberId, attempt } = order;
      return { judged: 'stray', lottoPublishId: 1, memberId, attempt };
    };
    return {
      ...reconciliation,
      rows: { ...reconciliation.rows, judgeCapture },
      purchased: async (keys) => new Set(keys.filter((key) => bought.has(key))),
    };
  },
};
