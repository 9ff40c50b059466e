import type { Measurement } from '../../measurement.ts';
import type { Demand, Ratio } from '../../ratio.ts';
import type { GroupReport } from '../../report/report.ts';
import type { ServerUrls } from '../../servers.ts';
import type { Group, MeasureContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import type { LoadProcess } from '../operations/load-process.ts';
import { countWrites, measurementOf, P50, PER_SECOND } from '../operations/measure.ts';
import { countedOrders, measureParts, type OperationPart } from '../operations/parts.ts';
import { atLeast, atMost, compared, type MeasuredRows } from '../operations/ratios.ts';
import { type Books, type Bought, openBooks } from './books.ts';
import { byHandRow, contenders, DBOS, groupedRow, type PurchaseSpec } from './contenders.ts';
import { DONE, DUPLICATE, IN_PROGRESS } from './purchase.ts';

/** How long it takes: what one round does with one row. */
export interface PurchaseScale {
  /** For the first round, which is not counted: what has just been started compiles while it answers. */
  readonly warmUpMs: number;
  readonly roundMs: number;
  /** Whether the rows are measured that no ratio needs. */
  readonly peers: boolean;
}

const FULL: PurchaseScale = { warmUpMs: 2_000, roundMs: 1_500, peers: true };
const QUICK: PurchaseScale = { warmUpMs: 800, roundMs: 400, peers: false };

const FEW = 1;
const MANY = 64;

/** What every row must get right: so many orders, each asked for so often at about the same time. */
const RACE = { orders: 16, requests: 8, callers: 64 };

const CONTENDERS = new URL('./contenders.ts', import.meta.url);
const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];

/** Fresh orders, or the same that are paid already. */
type Kind = 'fresh' | 'duplicates';

const partOf = (database: DatabaseName, callers: number, kind: Kind = 'fresh') =>
  `${database}, ${callers} ${callers === 1 ? 'caller' : 'callers'}${kind === 'fresh' ? '' : ', duplicates'}`;

/**
 * A purchase: claimed, paid at a provider that is a no-op in the same process, settled with its bill.
 *
 * Compared with the cheapest by hand that leaves the same, an order that is paid and its bill.
 *
 * Correctness first: of many requests for one order that come at about the same time one pays, once, and all others are told so; in
 * each round as many are stored as were told.
 */
export const purchase: Group = (context) => measurePurchase(context, context.quick ? QUICK : FULL);

/** @param rows  Their names; absent: all. */
export async function measurePurchase(
  context: MeasureContext,
  scale: PurchaseScale,
  rows: readonly string[] = contenders.map(({ row }) => row),
): Promise<GroupReport> {
  const { servers } = context;
  const specs = contenders.filter(({ row, quick }) => rows.includes(row) && (quick || scale.peers));
  const books = {
    postgres: await openBooks('postgres', servers),
    mariadb: await openBooks('mariadb', servers),
  };
  // No two rounds have an order in common: what keeps something of each remembers it.
  let orders = 0;
  const freshOrders = (count: number) => {
    const first = orders + 1;
    orders += count;
    return first;
  };
  const part = (database: DatabaseName, callers: number, kind: Kind): OperationPart<PurchaseSpec> => ({
    part: partOf(database, callers, kind),
    setting: { callers, processes: 1, 'warm-up ms': scale.warmUpMs, 'round ms': scale.roundMs },
    limit: { row: byHandRow(database), figure: PER_SECOND },
    specs: specs.filter(
      (spec) => [database, null].includes(spec.database) && (kind === 'fresh' || spec.guards),
    ),
    async roundTrips(spec) {
      if (spec.database === null) return null;
      // More than are counted.
      const count = 10 * callers + 200;
      const first = freshOrders(count);
      await books[database].fill(first, count);
      return countedOrders(callers, { first, numbers: kind === 'fresh' ? null : callers });
    },
    measure: (spec, load, round, roundTrips) =>
      measurePurchases(
        { spec, load, books: books[database], servers, freshOrders },
        kind,
        callers,
        round === 0 ? scale.warmUpMs : scale.roundMs,
        {
          isFirst: round === 0,
          roundTrips,
        },
      ),
  });
  const parts = databases.flatMap((database) => [
    part(database, MANY, 'fresh'),
    part(database, FEW, 'fresh'),
    ...(scale.peers ? [part(database, MANY, 'duplicates')] : []),
  ]);
  const measured = await measureParts(context, CONTENDERS, parts);
  return { group: 'purchase', parts: measured.reports, ratios: ratiosOf(measured.rows) };
}

/** A row that is measured. */
interface Purchasing {
  readonly spec: Pick<PurchaseSpec, 'guards' | 'leaves' | 'perSecond'>;
  readonly load: Pick<LoadProcess, 'carryOut'>;
  readonly books: Books;
  readonly servers: ServerUrls;
  /** @returns the first of so many orders that nobody has asked for. */
  freshOrders(count: number): number;
}

/** One round. In the first, many must also ask for one order. */
async function measurePurchases(
  { spec, load, books, servers, freshOrders }: Purchasing,
  kind: Kind,
  callers: number,
  durationMs: number,
  { isFirst, roundTrips }: { isFirst: boolean; roundTrips: number | null },
): Promise<Measurement> {
  const wrong: string[] = [];
  if (isFirst && spec.guards) {
    const first = freshOrders(RACE.orders);
    await books.fill(first, RACE.orders);
    const numbers = Array.from(
      { length: RACE.orders * RACE.requests },
      (_, index) => first + Math.floor(index / RACE.requests),
    );
    const told = await load.carryOut({ kind: 'each', callers: RACE.callers, numbers });
    const asked = numbers.map((order, index) => ({ order, told: told[index] ?? '' }));
    wrong.push(...wrongInRace(asked), ...wrongInBooks(spec, RACE.orders, await books.read()));
  }
  const count = kind === 'fresh' ? Math.ceil((spec.perSecond * durationMs) / 1_000) : callers;
  const first = freshOrders(count);
  await books.fill(first, count);
  if (kind === 'duplicates') {
    const numbers = Array.from({ length: callers }, (_, index) => first + index);
    await load.carryOut({ kind: 'each', callers: 1, numbers });
  }
  const before = await countWrites(servers);
  const numbers = kind === 'fresh' ? null : callers;
  const result = await load.carryOut({ kind: 'drive', callers, first, numbers, until: { ms: durationMs } });
  const commits = (await countWrites(servers)) - before;
  const expected = kind === 'fresh' ? DONE : DUPLICATE;
  for (const [outcome, times] of Object.entries(result.outcomes)) {
    if (outcome !== expected) wrong.push(`${times} times it was not ${expected}, but ${outcome}`);
  }
  const paid = kind === 'fresh' ? (result.outcomes[DONE] ?? 0) : callers;
  if (result.errors === 0) wrong.push(...wrongInBooks(spec, paid, await books.read()));
  return measurementOf(result, { commits, roundTrips }, wrong);
}

/**
 * @param asked  What everybody was told who asked at about the same time.
 * @returns one sentence for each thing that is not as it must be.
 */
export function wrongInRace(asked: readonly { readonly order: number; readonly told: string }[]): string[] {
  const wrong = new Set<string>();
  for (const all of Map.groupBy(asked, ({ order }) => order).values()) {
    const paid = all.filter(({ told }) => told === DONE).length;
    if (paid !== 1) wrong.add(`of ${all.length} requests for one order ${paid} paid it`);
  }
  for (const { told } of asked) {
    if (told !== DONE && told !== DUPLICATE && told !== IN_PROGRESS) wrong.add(`it told: ${told}`);
  }
  return [...wrong];
}

function wrongInBooks({ leaves }: Purchasing['spec'], expected: number, { paid, bills }: Bought): string[] {
  const wrong: string[] = [];
  if (leaves === 'nothing') return wrong;
  if (leaves !== 'bill' && paid !== expected)
    wrong.push(`it told of ${expected} purchases, and ${paid} are paid`);
  if (leaves !== 'paid order' && bills !== expected) {
    wrong.push(`it told of ${expected} purchases, and there are ${bills} bills`);
  }
  return wrong;
}

function ratiosOf(measured: ReadonlyMap<string, MeasuredRows>): Record<string, Ratio> {
  const ratio = (
    [database, callers]: readonly [DatabaseName, number],
    other: string,
    figure: string,
    demand: Demand,
  ) => {
    const rows = measured.get(partOf(database, callers));
    return compared(rows?.get(groupedRow(database)), rows?.get(other), figure, demand);
  };
  const ratios: Record<string, Ratio> = {};
  for (const database of databases) {
    const byHand = byHandRow(database);
    ratios[`durable-purchase-${database}`] = ratio([database, MANY], byHand, PER_SECOND, atLeast(2.5, 5));
    ratios[`durable-purchase-${database}-latency`] = ratio([database, FEW], byHand, P50, atMost(1.4, 1.1));
  }
  ratios['durable-purchase-dbos'] = ratio(['postgres', MANY], DBOS, PER_SECOND, atLeast(40, 100));
  return ratios;
}
