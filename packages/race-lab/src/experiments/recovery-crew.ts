import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster/cluster.ts';
import type { ArmedInstance } from '../nemesis/armed-instance.ts';
import { drawRoundWhilePaid, openRound } from '../nemesis/lotto-round.ts';
import type { Target } from '../racer/exchange.ts';
import { addProviderFault } from './provider-faults.ts';
import { requestIdOf } from './purchase-run.ts';
import type { PurchaseStrategyName } from './purchase-strategies.ts';
import type { RecoveryCell } from './recovery-cells.ts';
import { type RecoveryClients, recoveryClients } from './recovery-clients.ts';
import { targetOf } from './run-context.ts';
import { openSession, type PreparedOrder, prepareOrders, requestJson } from './shop-client.ts';

/** Between two orders' races, in milliseconds: two cores carry everything. */
const SPACING_MS = 10;
/** So long an instance has for standing still, before others ask for the order that it is to stand still over. */
const STANDS_LIMIT_MS = 2_000;
/** The round is drawn after so long, though not all of its orders are being paid. */
const DRAW_LIMIT_MS = 650;

/** The orders of a cell, which nobody has begun to pay. */
export interface CellOrders {
  prepared: readonly PreparedOrder[];
  /** Absent: they are in the round that sells now. */
  roundId?: number;
}

export interface CrewOptions {
  given: CellOrders;
  racers: number;
  strategy: PurchaseStrategyName;
  victim: ArmedInstance | undefined;
  /** Aborted when nobody need ask any more. */
  over: AbortSignal;
  signal: AbortSignal;
}

/** The orders of a cell, and those who pay them. */
export interface RecoveryCrew {
  readonly orders: readonly PreparedOrder[];
  /** Those of them that nobody may have paid in the end. */
  readonly second: ReadonlySet<string>;
  /** What the instance that stands still was asked for, where one does. */
  readonly standsOver: string | undefined;
  readonly clients: RecoveryClients;
  /**
   * Lets everything happen that the cell's path is made of.
   *
   * @returns `through`: resolves when every order has gone its way, though somebody may still wait for an instance that stands still;
   *   `ended`: when everybody has a final answer.
   */
  run(): { through: Promise<void>; ended: Promise<void> };
}

/**
 * Orders for a cell. To be had before any instance is to die: it would, over what others have left, also while it answers an order.
 *
 * @param options  `number`: one that no other cell's orders on this cluster have.
 * @throws PreparationError, the signal's reason, the driver's error
 */
export async function ordersFor(
  { databaseUrl, sandbox, frontDoor }: Cluster,
  { path }: RecoveryCell,
  { orders, number, signal }: { orders: number; number: number; signal: AbortSignal },
): Promise<CellOrders> {
  const round = path.isDrawn ? { roundId: number + 1_000_000 } : {};
  if (round.roundId !== undefined) await openRound(databaseUrl, round.roundId);
  const prepared = await prepareOrders({
    shopUrls: frontDoor.urls,
    sandboxUrl: sandbox.baseUrl,
    orders: path.second === undefined ? orders : 2 * orders,
    openSessions: false,
    ...round,
    signal,
  });
  return { prepared, ...round };
}

/**
 * Those who pay the orders of a cell, with whatever goes wrong at the provider for each of them.
 *
 * @throws PreparationError, the signal's reason
 */
export async function crewOf(
  cluster: Cluster,
  { path, sessionMs, victim: wanted }: RecoveryCell,
  { given: { prepared, roundId }, racers, strategy, victim, over, signal }: CrewOptions,
): Promise<RecoveryCrew> {
  const { databaseUrl, sandbox } = cluster;
  const count = path.second === undefined ? prepared.length : prepared.length / 2;
  const faults = path.faults ?? [];
  await Promise.all(
    prepared.flatMap(({ orderId }) =>
      faults.map((fault) => addProviderFault(sandbox.baseUrl, orderId, fault, signal)),
    ),
  );
  const withSession = async (order: PreparedOrder): Promise<PreparedOrder> => {
    const paymentKey = await openSession(sandbox.baseUrl, { ...order, sessionMs }, signal);
    return { ...order, paymentKey };
  };
  const all = cluster.instances.map(({ baseUrl }) => targetOf(baseUrl));
  const at = victim && targetOf(victim.instance.baseUrl);
  const others = all.filter(({ port }) => port !== at?.port);
  const clients = recoveryClients({
    ...{ racers, strategy, over },
    firstTargets: at === undefined ? all : alternating(at, others),
    laterTargets: wanted?.does === 'stands-still' ? others : all,
  });

  /** One order's way, from the payment window to its end. */
  const goThrough = (order: PreparedOrder, first?: Parameters<RecoveryClients['pay']>[1]) => {
    const paying = clients.pay(order, first);
    const ends = [paying.all];
    const through = paying.first.then(async (answer) => {
      if (answer?.result === 'ok' && path.takesBack) await clients.takeBack(order);
      if (answer?.result !== 'fail' || !path.paysAgain) return;
      const again = clients.pay(await withSession(order));
      ends.push(again.all);
      await again.first;
    });
    return { through: heard(through), ended: heard(through.then(() => Promise.all(ends))) };
  };

  async function release(): Promise<{ through: Promise<unknown>; ended: Promise<unknown> }[]> {
    const released: { through: Promise<unknown>; ended: Promise<unknown> }[] = [];
    const authorised = await Promise.all(prepared.map(withSession));
    // An instance that was just started loses most races, so at first it alone is asked. And it has this one order alone: over
    // another it might stand still within a transaction, and nobody gets past its lock then but the database.
    let standing =
      wanted?.does === 'stands-still'
        ? victim?.untilStill(AbortSignal.any([over, AbortSignal.timeout(STANDS_LIMIT_MS)]))
        : undefined;
    for (const [index, order] of authorised.slice(0, count).entries()) {
      const second = authorised[count + index];
      // Who has wrong settings gets every second order for himself, so that he has some. Who is to die gets the first: on a machine
      // with much to do an instance that was just started would else lose all of them.
      const isForVictim =
        wanted?.does === 'misbehaves' ? index % 2 === 0 : wanted?.does === 'dies' && index === 0;
      const first = { othersWaitFor: standing, ...(isForVictim && at !== undefined ? { at } : {}) };
      released.push(goThrough(order, first));
      await standing;
      standing = undefined;
      if (second !== undefined && path.second === 'captured') await capture(cluster, second, signal);
      else if (second !== undefined) released.push(goThrough({ ...second, paymentKey: order.paymentKey }));
      await sleep(SPACING_MS, undefined, { signal });
    }
    return released;
  }

  return {
    orders: prepared,
    second: new Set(prepared.slice(count).map(({ orderId }) => orderId)),
    standsOver: wanted?.does === 'stands-still' ? prepared[0] && requestIdOf(prepared[0], 1) : undefined,
    clients,
    run() {
      const drawing =
        roundId === undefined
          ? Promise.resolve()
          : drawRoundWhilePaid(databaseUrl, { roundId, orders: count, limitMs: DRAW_LIMIT_MS });
      const released = release();
      const all = async (which: 'through' | 'ended') => {
        await Promise.all([drawing, released.then((some) => Promise.all(some.map((one) => one[which])))]);
      };
      return { through: heard(all('through')), ended: heard(all('ended')) };
    },
  };
}

/** A failure of it is no crash, though nobody listens to it yet, or ever. */
function heard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Every second is the first one. */
function alternating(first: Target, others: readonly Target[]): Target[] {
  return others.length === 0 ? [first] : others.flatMap((other) => [first, other]);
}

/** The provider takes the money, of its own accord as far as the shop can see. */
async function capture(
  { sandbox: { baseUrl, secretKey } }: Cluster,
  { orderId, paymentKey, amount }: PreparedOrder,
  signal: AbortSignal,
): Promise<void> {
  const authorization = `Basic ${Buffer.from(`${secretKey}:`).toString('base64')}`;
  const body = { paymentKey, orderId, amount };
  await requestJson('POST', `${baseUrl}/v1/payments/confirm`, { body, headers: { authorization }, signal });
}
