import { alternate, type Measured, type Measurement } from '../../measurement.ts';
import type { Demand, Ratio } from '../../ratio.ts';
import { type GroupReport, type PartReport, partReport } from '../../report/report.ts';
import { openSqlBooks, type Sold } from '../coupon/books.ts';
import { pawlRow } from '../coupon/contenders.ts';
import { DONE, PLENTY } from '../coupon/coupon.ts';
import type { Group, GroupContext, MeasureContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import type { DriveResult } from '../operations/load-messages.ts';
import { type LoadProcess, startLoad } from '../operations/load-process.ts';
import { countWrites, haveWritesCounted, measurementOf, PER_SECOND } from '../operations/measure.ts';
import { atLeast, compared } from '../operations/ratios.ts';
import { ISSUE } from '../shop/contenders.ts';
import { readRemaining, SHOP_STOCK, startShop } from '../shop/target.ts';

/** How long it takes: what one round does with one row, and where. */
export interface ScaleScale {
  readonly roundMs: number;
  /** Whose shops are raced, besides the library. */
  readonly shops: readonly DatabaseName[];
}

const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];
const FULL: ScaleScale = { roundMs: 2_000, shops: databases };
const QUICK: ScaleScale = { roundMs: 400, shops: ['postgres'] };

/** Of each instance: that is what one serves, and four are there to serve more. */
const CALLERS = 64;
const FOUR = 4;
const COUNTS = [1, FOUR];

const DEMAND: Demand = atLeast(0.8, 1.5);

const LIBRARY = new URL('../coupon/contenders.ts', import.meta.url);
const SHOP = new URL('../shop/contenders.ts', import.meta.url);

/** So many processes that want the same row. */
interface ScaledRow {
  readonly row: string;
  readonly settings: string;
  /** Each with its callers. */
  readonly loads: readonly LoadProcess[];
  /** Of each load. */
  readonly callers: number;
  /** What is left, and what was issued where it can be told, is as it was. */
  reset(): Promise<void>;
  read(): Promise<Pick<Sold, 'remaining'> & Partial<Sold>>;
}

/**
 * One hot coupon on one instance and on four, each with its callers: they share the row, and must not fight for it. It is measured
 * with processes that have nothing but the library, which shows the row alone; and with instances of the shop, asked directly, so
 * that no balancer is measured, where on few processors the instances also share those.
 *
 * Correctness: in each round as many are stored as were told.
 */
export const scale: Group = (context) => measureScale(context, context.quick ? QUICK : FULL);

export async function measureScale(
  context: Omit<GroupContext, 'quick'>,
  { roundMs, shops }: ScaleScale,
): Promise<GroupReport> {
  const reports: PartReport[] = [];
  const ratios: Record<string, Ratio> = {};
  const part = async (name: string, ratio: string, rows: readonly ScaledRow[]) => {
    const measured = await measureRows(context, name, rows, roundMs);
    const setting = { 'callers of each': CALLERS, 'round ms': roundMs };
    const titled = [...measured].map(([{ row, settings }, one]) => ({
      title: { row, own: true, settings },
      measured: one,
    }));
    const limit = { row: rows[0]?.row ?? '', figure: PER_SECOND };
    reports.push(partReport({ part: name, setting, limit }, titled));
    const [one, four] = [...measured.values()];
    ratios[ratio] = compared(four, one, PER_SECOND, DEMAND);
  };
  await haveWritesCounted(context.servers);
  for (const database of databases) {
    await ending(context, async (stop) => {
      await part(`library, ${database}`, `scale-${database}`, await libraryRows(context, database, stop));
    });
  }
  for (const database of shops) {
    await ending(context, async (stop) => {
      const shop = await openShop(context, database, stop);
      await part(`shop, ${database}`, `scale-shop-${database}`, shop.rows);
      await shop.stop();
    });
  }
  return { group: 'scale', parts: reports, ratios };
}

/** What `work` starts with its signal has ended by the time that this settles. */
async function ending({ signal }: MeasureContext, work: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const ended = new AbortController();
  try {
    await work(AbortSignal.any([signal, ended.signal]));
  } finally {
    ended.abort(new Error('the part has ended'));
  }
}

async function libraryRows(
  { servers, progress }: MeasureContext,
  database: DatabaseName,
  signal: AbortSignal,
): Promise<ScaledRow[]> {
  progress(`opening: ${FOUR} processes, ${database}`);
  const books = await openSqlBooks(servers[database]);
  const plan = { contenders: LIBRARY, row: pawlRow(database), urls: servers };
  const loads = await Promise.all(Array.from({ length: FOUR }, () => startLoad(plan, signal)));
  return COUNTS.map((count) => ({
    row: `${count} ${count === 1 ? 'process' : 'processes'}`,
    settings: 'pawl stock, defaults; a pool of 5 each',
    loads: loads.slice(0, count),
    callers: CALLERS,
    reset: () => books.reset(PLENTY),
    read: () => books.read(),
  }));
}

async function openShop(
  context: Omit<GroupContext, 'quick'>,
  database: DatabaseName,
  signal: AbortSignal,
): Promise<{ readonly rows: readonly ScaledRow[]; stop(): Promise<void> }> {
  const { servers, guardian, progress } = context;
  progress(`starting ${FOUR} shops on ${database}`);
  const options = { database, instances: FOUR, pays: false, servers, guardian, signal };
  const { target, stop } = await startShop(options);
  const rows = await Promise.all(
    COUNTS.map(async (count) => {
      const its = { ...target, instances: target.instances.slice(0, count) };
      const plan = { contenders: SHOP, row: ISSUE, urls: { ...servers, shop: its } };
      let leftBefore = SHOP_STOCK;
      return {
        row: `${count} ${count === 1 ? 'instance' : 'instances'}`,
        settings: 'POST /api/coupon/{id}, a member each, the shop’s default strategy; one load process',
        loads: [await startLoad(plan, signal)],
        callers: CALLERS * count,
        reset: async () => {
          leftBefore = await readRemaining(its);
        },
        read: async () => ({ remaining: PLENTY - leftBefore + (await readRemaining(its)) }),
      };
    }),
  );
  return { rows, stop };
}

/** No round asks with a member of another, and no process with one of another. */
const MEMBERS_EACH = 1_000_000;

function measureRows(
  { servers, rounds, signal, progress }: MeasureContext,
  part: string,
  rows: readonly ScaledRow[],
  roundMs: number,
): Promise<ReadonlyMap<ScaledRow, Measured>> {
  let members = 0;
  return alternate(
    rows,
    rounds,
    async ({ row, loads, callers, reset, read }, round): Promise<Measurement> => {
      signal.throwIfAborted();
      progress(`${part}: round ${round} of ${rounds}, ${row}`);
      await reset();
      const before = await countWrites(servers);
      const results = await Promise.all(
        loads.map((load) => {
          members += MEMBERS_EACH;
          const drive = { kind: 'drive', callers, first: members, numbers: null } as const;
          return load.carryOut({ ...drive, until: { ms: roundMs } });
        }),
      );
      const commits = (await countWrites(servers)) - before;
      const all = together(results);
      return measurementOf(all, { commits, roundTrips: null }, wrongInScale(all, await read()));
    },
  );
}

/** As if one process had had all callers. */
function together(results: readonly DriveResult[]): DriveResult {
  const outcomes: Record<string, number> = {};
  for (const [word, times] of results.flatMap((one) => Object.entries(one.outcomes))) {
    outcomes[word] = (outcomes[word] ?? 0) + times;
  }
  return {
    // They begin and end at about the same time.
    durationMs: Math.max(...results.map(({ durationMs }) => durationMs)),
    latencyMs: Float64Array.from(results.flatMap(({ latencyMs }) => [...latencyMs])),
    outcomes,
    errors: results.reduce((sum, { errors }) => sum + errors, 0),
    firstError: results.find(({ firstError }) => firstError !== null)?.firstError ?? null,
  };
}

/** @returns one sentence for each thing that is not as it must be. */
export function wrongInScale(
  { outcomes, errors }: Pick<DriveResult, 'outcomes' | 'errors'>,
  { remaining, issued }: Pick<Sold, 'remaining'> & Partial<Sold>,
): string[] {
  const { [DONE]: done = 0, ...others } = outcomes;
  const wrong = Object.keys(others).map((word) => `new members were told: ${word}`);
  // What became of those who met an error is not known.
  if (errors > 0) return wrong;
  if (PLENTY - remaining !== done)
    wrong.push(`it told ${done} that they have one, and took ${PLENTY - remaining}`);
  if (issued !== undefined && issued !== done) {
    wrong.push(`it told ${done} that they have one, and issued ${issued}`);
  }
  return wrong;
}
