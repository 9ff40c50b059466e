import { done, refused } from 'pawl';
import type { ChargeRequest } from '../src/lotto/purchase/durable/definition.ts';
import { reconcile } from '../src/lotto/purchase/durable/reconcile.ts';
import { MARGIN_MS, SESSION_MS } from './clock.ts';
import { bytesOf, OUTSIDE } from './invariants.ts';
import { begin } from './process.ts';
import { AMOUNT, CURRENCY, ROUND } from './rows.ts';
import { orders, type Wish } from './schedule.ts';
import type { Actor } from './scheduler.ts';
import { stepped } from './stepped.ts';
import { transact } from './table.ts';
import type { World } from './world.ts';

/** What a client has heard of its request. */
export interface Client {
  readonly name: string;
  readonly wish: Wish;
  tries: number;
  /** Its last try. */
  asking: Actor | undefined;
  /** The bytes of the answer; undefined while there is none that is final. */
  answer: string | undefined;
  /** The last answer that was not final, and what the database had come to then. */
  heard: string | undefined;
  heardAt: number | undefined;
}

/** One confirmation, by an instance of its own. */
export function confirm(world: World, client: Client): Actor {
  const { orderId, paymentKey, idempotencyKey = paymentKey } = client.wish;
  const requestId = `${client.name}, try ${++client.tries}`;
  const memberId = orders.find((order) => order.orderId === orderId)?.memberId ?? 0;
  const payload = `${orderId} ${paymentKey}`;
  const request = { scope: [`member ${memberId}`, 'tickets'], key: idempotencyKey, payload };
  const order = { orderId, lottoPublishId: 1, memberId, paymentKey, amount: AMOUNT };
  client.heard = 'nothing';
  const actor = begin(world, requestId, async ({ calls, rows }) => {
    const outcome = await calls.run(request, async (trx) => {
      const claimed = await rows.claim(trx, order);
      if (claimed.outcome !== 'done') return claimed;
      const { attempt, lottoRoundInfoId } = claimed.value;
      const sent = { currency: CURRENCY, requestId, isStray: false, testCode: null };
      const charge: ChargeRequest = { ...order, ...sent, lottoRoundInfoId, attempt };
      return done({ subject: orderId, attempt, request: charge, finalAfterMs: SESSION_MS + MARGIN_MS });
    });
    client.heardAt = world.version;
    client.heard = outcome.outcome === 'refused' ? outcome.reason : outcome.outcome;
    if (outcome.outcome === 'refused') world.invariants.refused(requestId, outcome.reason, world.store);
    world.counts.saw(
      outcome.outcome === 'done' && outcome.replayed
        ? 'client heard a replay'
        : `client heard ${client.heard}`,
    );
    if (outcome.outcome !== 'done') return;
    client.answer = bytesOf(outcome.value);
    world.invariants.answered(`${request.scope[0]}'s ${request.key} (${payload})`, client.answer);
  });
  client.asking = actor;
  return actor;
}

export function recover(world: World, name: string): Actor {
  return begin(world, name, async ({ calls }) => {
    await calls.recover();
  });
}

/** The member gives his order up, or takes it back when he has paid it. */
export function cancel(world: World, orderId: string, name: string): Actor {
  return begin(world, name, async ({ actor, calls, rows }) => {
    await actor.at('reads the order');
    const bought = [...rows.purchases.all()].find((purchase) => purchase.orderId === orderId);
    const order = rows.orders.get(orderId);
    if (order?.status === 'WAITING') {
      const giveUp = () =>
        transact(async (trx) => (rows.giveUp(trx, orderId) ? done(undefined) : refused('wrong-state')));
      await stepped(actor, 'gives the order up', giveUp, ({ outcome }) => outcome);
      return;
    }
    if (bought === undefined || order?.status !== 'COMPLETE') return;
    world.takenBack.add(orderId);
    const { memberId, attempt } = order;
    const { paymentKey } = bought.bill.purchase;
    const value = { paymentKey, orderId, totalAmount: AMOUNT, currency: CURRENCY, method: 'CARD' };
    const by = { strategy: 'durable', instance: name, requestId: name };
    const whose = { orderId, lottoPublishId: 1, lottoRoundInfoId: ROUND, memberId, attempt, paymentKey };
    const canceled = await calls.compensate({ subject: orderId, attempt }, async (trx) => {
      const begun = await rows.beginRefund(trx, { ...whose, actor: by }, 'COMPLETE');
      return begun.outcome === 'done' ? done({ value }) : begun;
    });
    world.counts.saw(`cancel: ${canceled.outcome}`);
  });
}

export function reconcileOnce(world: World, name: string): Actor {
  return begin(world, name, async (process) => {
    const { actor, calls, client, rows } = process;
    const bought = () => [...rows.purchases.all()].map(({ bill }) => bill.purchase.paymentKey);
    const purchased = (paymentKeys: readonly string[]) =>
      stepped(
        actor,
        'reads the purchases',
        async () => new Set(paymentKeys.filter((key) => bought().includes(key))),
        (keys) => [...keys].join(', ') || 'none',
      );
    const plain = { provider: client, calls, rows, purchased, serverName: name };
    const reconciliation = (await world.mutant?.reconciliation?.(plain, process)) ?? plain;
    const { strays } = await reconcile(reconciliation, new Date(0), new Date(world.clock.now));
    world.counts.saw('stray given back', strays.length);
  });
}

/** An old deployment confirms, once, and does nothing else. */
export function confirmFromOutside(world: World): Actor {
  return begin(world, 'old deployment', async ({ client }) => {
    const payment = { orderId: 'A', paymentKey: 'a1', amount: AMOUNT, currency: CURRENCY };
    await client.confirm({ ...payment, requestId: OUTSIDE });
  });
}
