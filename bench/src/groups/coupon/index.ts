import type { Measurement } from '../../measurement.ts';
import type { Ratio } from '../../ratio.ts';
import type { GroupReport } from '../../report/report.ts';
import type { ServerUrls } from '../../servers.ts';
import type { Group, MeasureContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import type { LoadProcess } from '../operations/load-process.ts';
import { countWrites, measurementOf, PER_SECOND } from '../operations/measure.ts';
import { countedOrders, measureParts, type OperationPart } from '../operations/parts.ts';
import { atLeast, compared, type MeasuredRows } from '../operations/ratios.ts';
import { type Books, openSqlBooks, wrongInSale } from './books.ts';
import { openRedisBooks } from './contenders/redis-counter.ts';
import {
  type CouponSpec,
  CROWD,
  contenders,
  FEW,
  forUpdateRow,
  MANY,
  pawlRow,
  REDIS_COUNTER,
} from './contenders.ts';
import { DONE, PLENTY } from './coupon.ts';

/** How long it takes: what one round does with one row. */
export interface CouponScale {
  readonly roundMs: number;
  /** Whether the rows are measured that no ratio needs. */
  readonly peers: boolean;
}

const FULL: CouponScale = { roundMs: 1_500, peers: true };
const QUICK: CouponScale = { roundMs: 400, peers: false };

/** The sale that every row must get right: two requests of each member, at about the same time. */
const SALE = { stock: 40, members: 60, callers: 64 };

const CONTENDERS = new URL('./contenders.ts', import.meta.url);

interface Part {
  readonly part: string;
  readonly callers: number;
  /** Whose rows. */
  readonly books: readonly CouponSpec['books'][];
  /** The row to which all are compared. */
  readonly limit: string | null;
}

const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];
const all: Part['books'] = [null, 'redis', ...databases];

const parts: readonly Part[] = [
  ...databases.map((database) => ({
    ...{ part: `${database}, ${MANY} callers`, callers: MANY },
    ...{ books: [null, 'redis', database] as const, limit: forUpdateRow(database) },
  })),
  { part: `${CROWD} callers`, callers: CROWD, books: all, limit: REDIS_COUNTER },
  { part: `${FEW} caller`, callers: FEW, books: databases, limit: null },
];

/**
 * One hot coupon: a stock that everybody wants, one for each member, and every caller told what his request came to.
 *
 * Correctness first: of a small stock exactly as many are sold, no member has two, and everybody is told what is so; in each round
 * as many are stored as were told.
 */
export const coupon: Group = (context) => measureCoupon(context, context.quick ? QUICK : FULL);

/** @param rows  Their names; absent: all. */
export async function measureCoupon(
  context: MeasureContext,
  scale: CouponScale,
  rows: readonly string[] = contenders.map(({ row }) => row),
): Promise<GroupReport> {
  const { servers } = context;
  const specs = contenders.filter(({ row, quick }) => rows.includes(row) && (quick || scale.peers));
  const books = await openBooks(servers);
  try {
    const measured = await measureParts(
      context,
      CONTENDERS,
      parts.map(
        ({ part, callers, books: whose, limit }): OperationPart<CouponSpec> => ({
          part,
          setting: { callers, processes: 1, 'round ms': scale.roundMs },
          limit: limit === null ? null : { row: limit, figure: PER_SECOND },
          specs: specs.filter((spec) => spec.callers.includes(callers) && whose.includes(spec.books)),
          async roundTrips(spec) {
            if (spec.books === null) return null;
            await books.get(spec.books)?.reset(PLENTY);
            return countedOrders(callers, { first: 1, numbers: null });
          },
          measure(spec, load, round, roundTrips) {
            const issuing = { spec, load, books: bookOf(books, spec) };
            return measureIssues(issuing, callers, scale.roundMs, {
              first: round === 0,
              roundTrips,
              servers,
            });
          },
        }),
      ),
    );
    return { group: 'coupon', parts: measured.reports, ratios: ratiosOf(measured.rows) };
  } finally {
    await Promise.all([...books.values()].map((one) => one.close()));
  }
}

async function openBooks(urls: ServerUrls): Promise<ReadonlyMap<CouponSpec['books'], Books>> {
  return new Map<CouponSpec['books'], Books>([
    ['redis', await openRedisBooks(urls)],
    ['postgres', await openSqlBooks(urls.postgres)],
    ['mariadb', await openSqlBooks(urls.mariadb)],
  ]);
}

function bookOf(books: ReadonlyMap<CouponSpec['books'], Books>, spec: CouponSpec): Books | null {
  return spec.books === null ? null : (books.get(spec.books) ?? null);
}

/** A row that is measured. */
export interface Issuing {
  readonly spec: Pick<CouponSpec, 'tells' | 'row'>;
  readonly load: Pick<LoadProcess, 'carryOut'>;
  /** Null where it stores nothing. */
  readonly books: Books | null;
}

/** One round. In the first it must also sell a small stock as it should. */
export async function measureIssues(
  { spec, load, books }: Issuing,
  callers: number,
  durationMs: number,
  { first, roundTrips, servers }: { first: boolean; roundTrips: number | null; servers: ServerUrls },
): Promise<Measurement> {
  const wrong: string[] = [];
  if (first && spec.tells && books !== null) {
    await books.reset(SALE.stock);
    const numbers = Array.from({ length: 2 * SALE.members }, (_, index) => 1 + (index >> 1));
    const told = await load.carryOut({ kind: 'each', callers: SALE.callers, numbers });
    const asked = numbers.map((member, index) => ({ member, told: told[index] ?? '' }));
    wrong.push(...wrongInSale(asked, SALE.stock, await books.read()));
  }
  await books?.reset(PLENTY);
  const before = books === null ? 0 : await countWrites(servers);
  const drive = { kind: 'drive', callers, first: 1, numbers: null, until: { ms: durationMs } } as const;
  const result = await load.carryOut(drive);
  const commits = books === null ? null : (await countWrites(servers)) - before;
  if (books !== null && spec.tells && result.errors === 0) {
    const { [DONE]: done = 0, ...others } = result.outcomes;
    const { remaining, issued } = await books.read();
    if (Object.keys(others).length > 0)
      wrong.push(`new members were told: ${Object.keys(others).join(', ')}`);
    if (issued !== done) wrong.push(`it told ${done} that they have one, and issued ${issued}`);
    if (PLENTY - remaining !== done)
      wrong.push(`it told ${done} that they have one, and took ${PLENTY - remaining}`);
  }
  return measurementOf(result, { commits, roundTrips }, wrong);
}

function ratiosOf(measured: ReadonlyMap<string, MeasuredRows>): Record<string, Ratio> {
  const rowOf = (callers: number, database: DatabaseName, row: string) =>
    parts
      .filter((part) => part.callers === callers && part.books.includes(database))
      .map(({ part }) => measured.get(part)?.get(row))
      .find((one) => one !== undefined);
  const ratios: Record<string, Ratio> = {};
  for (const database of databases) {
    ratios[`hot-coupon-${database}`] = compared(
      rowOf(MANY, database, pawlRow(database)),
      rowOf(MANY, database, forUpdateRow(database)),
      PER_SECOND,
      atLeast(30, 60),
    );
    ratios[`hot-coupon-${CROWD}-${database}`] = compared(
      rowOf(CROWD, database, pawlRow(database)),
      rowOf(CROWD, database, REDIS_COUNTER),
      PER_SECOND,
      atLeast(0.5, 0.9),
    );
  }
  return ratios;
}
