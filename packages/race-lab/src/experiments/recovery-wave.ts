import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readDurableCalls } from '../checkers/read-durable-calls.ts';
import { readShopRows } from '../checkers/read-shop-rows.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { WatchServer } from '../cluster/watch-server.ts';
import { isSettled } from '../history/durable-calls.ts';
import { byOrder, withoutOrders } from '../history/evidence.ts';
import type { LedgerEvent } from '../history/ledger.ts';
import type { RecoveryEvidence, RecoveryPromise } from '../history/recovery-evidence.ts';
import { type ArmedInstance, arm } from '../nemesis/armed-instance.ts';
import { readLedger } from './purchase-run.ts';
import type { PurchaseStrategyName } from './purchase-strategies.ts';
import type { RecoveryCell } from './recovery-cells.ts';
import { type CellOrders, crewOf, ordersFor, type RecoveryCrew } from './recovery-crew.ts';
import { recoveryTimes } from './recovery-settings.ts';
import type { RunContext } from './run-context.ts';

/** What recovery may take beyond what it has to wait for, in milliseconds. */
const SLACK_MS = 2_000;
const LOOK_PAUSE_MS = 50;

export interface WaveContext extends RunContext {
  orders: number;
  racers: number;
  strategy: PurchaseStrategyName;
  /** How long after all sessions and delays everybody gives up that he gets an answer, in milliseconds. */
  patienceMs: number;
  /** Every order that was made so far. */
  known: Set<string>;
  /** A number that nothing else on this cluster has. */
  nextNumber(): number;
  watch: WatchServer;
  signal: AbortSignal;
}

/** What was seen of a cell. */
export interface CellSeen {
  cell: RecoveryCell;
  startedAt: Date;
  evidence: RecoveryEvidence;
  /** What the instance that stood still had been asked for. */
  standsOver: string | undefined;
  /** Where an instance struck itself. */
  struckAt: string | null;
  /** How many requests to the provider went wrong as they should. */
  faults: number;
}

/**
 * Races cells beside each other, each with orders and, where an instance is to die, one of its own, and waits until everything has
 * come to rest. What instances leave is for any of them to finish, so that one cell's victim may die over another's order.
 *
 * @throws PreparationError, the signal's reason, as startServer does, and whatever keeps the evidence from being read.
 */
export async function raceWave(
  cluster: Cluster,
  cells: readonly RecoveryCell[],
  context: WaveContext,
): Promise<CellSeen[]> {
  const { known, nextNumber, patienceMs, signal } = context;
  const startedAt = new Date();
  const given: CellOrders[] = [];
  for (const cell of cells) given.push(await ordersFor(cluster, cell, { ...context, number: nextNumber() }));
  for (const { orderId } of given.flatMap(({ prepared }) => prepared)) known.add(orderId);
  const victims = await Promise.all(cells.map((cell, index) => victimOf(cluster, cell, index, context)));
  const limit = Math.max(...cells.map(({ delayMs, sessionMs }) => delayMs + sessionMs)) + patienceMs;
  const over = AbortSignal.any([signal, AbortSignal.timeout(limit)]);
  const crews: RecoveryCrew[] = [];
  try {
    for (const [index, cell] of cells.entries()) {
      const orders = given[index];
      if (orders === undefined) continue;
      crews.push(await crewOf(cluster, cell, { ...context, given: orders, victim: victims[index], over }));
    }
    await Promise.all(
      crews.map((crew, index) =>
        runCell(cluster, cells[index], crew, { victim: victims[index], over, signal }),
      ),
    );
    await Promise.all(victims.map((victim) => victim?.mend()));
  } finally {
    for (const { clients } of crews) clients.close();
  }
  signal.throwIfAborted();
  return gatherCells(cluster, { cells, crews, victims, startedAt, known });
}

async function victimOf(
  cluster: Cluster,
  { victim }: RecoveryCell,
  index: number,
  { nextNumber, watch }: WaveContext,
): Promise<ArmedInstance | undefined> {
  const instance = cluster.instances[index];
  if (victim === undefined || instance === undefined) return undefined;
  const logFile = join(cluster.guardian.directory, `failpoints-${nextNumber()}.jsonl`);
  if (victim.does === 'misbehaves') {
    return arm(cluster, instance, { logFile, env: victim.env, envAfter: {} }, watch);
  }
  const { at, visit, env, envAfter, does } = victim;
  const failpoint = `${at}:${visit}=${does === 'dies' ? 'kill' : 'stop'}`;
  return arm(cluster, instance, { failpoint, logFile, env, envAfter }, watch);
}

/** Until everybody in it has a final answer and everything is settled, or its time is over. */
async function runCell(
  cluster: Cluster,
  cell: RecoveryCell | undefined,
  crew: RecoveryCrew,
  { victim, over, signal }: { victim: ArmedInstance | undefined; over: AbortSignal; signal: AbortSignal },
): Promise<void> {
  const { through, ended } = crew.run();
  if (cell?.victim?.does === 'stands-still') {
    await through;
    await victim?.goOn();
  }
  if (cell?.victim?.does === 'misbehaves') {
    await sleep(cell.victim.forMs, undefined, { signal });
    await victim?.mend();
  }
  await ended;
  const orders = new Set(crew.orders.map(({ orderId }) => orderId));
  while (!over.aborted) {
    const calls = byOrder(await readDurableCalls(cluster.databaseUrl));
    const ofOrders = [...orders].map((orderId) => calls.get(orderId) ?? []);
    // A capture that nobody asked for has to be found first.
    const areFound = cell?.path.second !== 'captured' || ofOrders.every(({ length }) => length > 0);
    if (areFound && ofOrders.flat().every(isSettled)) return;
    await sleep(LOOK_PAUSE_MS, undefined, { signal });
  }
}

interface Wave {
  cells: readonly RecoveryCell[];
  crews: readonly RecoveryCrew[];
  victims: readonly (ArmedInstance | undefined)[];
  startedAt: Date;
  known: ReadonlySet<string>;
}

async function gatherCells(
  cluster: Cluster,
  { cells, crews, victims, startedAt, known }: Wave,
): Promise<CellSeen[]> {
  const ledger = await readLedger(cluster);
  const rows = await readShopRows(cluster.databaseUrl);
  const calls = byOrder(await readDurableCalls(cluster.databaseUrl));
  const startMs = startedAt.getTime();
  const struckAtMs = Math.max(startMs, ...victims.flatMap((victim) => victim?.struckAtMs() ?? []));
  const mendedAtMs = Math.max(startMs, ...victims.flatMap((victim) => victim?.mendedAtMs() ?? []));
  const refusedKeys = ledger.filter(
    (event) => event.type === 'request' && event.keyRefused && Date.parse(event.at) >= startMs,
  ).length;
  return cells.flatMap((cell, index) => {
    const crew = crews[index];
    if (crew === undefined) return [];
    const orderIds = crew.orders.map(({ orderId }) => orderId);
    const others = new Set([...known].filter((orderId) => !orderIds.includes(orderId)));
    const { answers, cancels } = crew.clients;
    const own = withoutOrders({ answers, cancels, ledger, rows }, others);
    const faults = own.ledger.filter((event) => event.type === 'fault');
    const promises = orderIds.map((orderId) => {
      const ends = crew.second.has(orderId) ? ['WAITING'] : cell.path.ends;
      const faultMs = lastFaultMs(faults, orderId);
      const times = { struckAtMs: Math.max(struckAtMs, faultMs), healedAtMs: Math.max(mendedAtMs, faultMs) };
      return [orderId, { ...promiseOf(cell), ...times, ends }] as const;
    });
    return [
      {
        cell,
        startedAt,
        evidence: {
          ...own,
          calls: orderIds.flatMap((orderId) => calls.get(orderId) ?? []),
          promises: new Map(promises),
        },
        standsOver: crew.standsOver,
        struckAt: victims[index]?.struck()?.name ?? null,
        faults: faults.length + (cell.victim?.does === 'misbehaves' ? refusedKeys : 0),
      },
    ];
  });
}

/** What is promised of the orders of a cell, whatever becomes of it. */
function promiseOf({
  delayMs,
  path,
}: RecoveryCell): Omit<RecoveryPromise, 'ends' | 'struckAtMs' | 'healedAtMs'> {
  return {
    withinMs: Math.max(recoveryTimes.leaseMs, delayMs) + SLACK_MS,
    mayOutlastSession: path.mayOutlastSession ?? false,
    afterSessionMs: SLACK_MS,
  };
}

function lastFaultMs(faults: readonly LedgerEvent[], orderId: string): number {
  return Math.max(
    0,
    ...faults.flatMap((event) =>
      event.type === 'fault' && event.orderId === orderId ? [Date.parse(event.at)] : [],
    ),
  );
}
