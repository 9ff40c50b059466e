import { type Demand, judge, type Ratio } from '../../ratio.ts';
import type { GroupReport } from '../../report/report.ts';
import { DONE } from '../coupon/coupon.ts';
import type { Group, MeasureContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import type { LoadProcess } from '../operations/load-process.ts';
import { countWrites, measurementOf, P50 } from '../operations/measure.ts';
import { measureParts, type OperationPart } from '../operations/parts.ts';
import { atMost, compared, type MeasuredRows } from '../operations/ratios.ts';
import { contenders, type GrowthSpec, rowOf, type Size } from './contenders.ts';
import { forgetSale, makeHistory, readIssued } from './history.ts';

/** How long it takes: what one round does with one row, and how many coupons have been issued before. */
export interface GrowthScale {
  readonly roundMs: number;
  readonly issued: Readonly<Record<Size, number>>;
}

const FULL: GrowthScale = { roundMs: 2_000, issued: { small: 10_000, large: 10_000_000 } };

const CONTENDERS = new URL('./contenders.ts', import.meta.url);
const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];
const CALLERS = [64, 1] as const;
const DEMAND: Demand = atMost(1.3, 1.1);

const partOf = (database: DatabaseName, callers: number) =>
  `${database}, ${callers} ${callers === 1 ? 'caller' : 'callers'}`;
const ratioOf = (database: DatabaseName, callers: number) => `growth-${database}-${callers}`;

/**
 * What is issued now, when much or little has been issued before. Filling the tables takes minutes, so a short run leaves it out.
 *
 * Correctness: in each round as many are stored as were told.
 */
export const growth: Group = async (context) => {
  if (!context.quick) return measureGrowth(context, FULL);
  const ratios = databases.flatMap((database) =>
    CALLERS.map((callers) => [ratioOf(database, callers), judge(null, DEMAND)] as const),
  );
  return { group: 'growth', parts: [], ratios: Object.fromEntries(ratios) };
};

export async function measureGrowth(context: MeasureContext, scale: GrowthScale): Promise<GroupReport> {
  const { servers, progress, signal } = context;
  for (const { database, size } of contenders) {
    signal.throwIfAborted();
    progress(`filling: ${rowOf(database, size)}`);
    await makeHistory(database, servers[database], size, scale.issued[size]);
  }
  const part = (database: DatabaseName, callers: number): OperationPart<GrowthSpec> => ({
    part: partOf(database, callers),
    setting: { callers, processes: 1, ...settingOf(scale), 'round ms': scale.roundMs },
    limit: { row: rowOf(database, 'small'), figure: P50 },
    specs: contenders.filter((spec) => spec.database === database),
    roundTrips: async () => null,
    async measure(spec, load) {
      const url = servers[database];
      await forgetSale(url, spec.size);
      const before = await countWrites(servers);
      const { result, wrong } = await issue(load, callers, scale.roundMs);
      const commits = (await countWrites(servers)) - before;
      const { onSale, taken } = await readIssued(url, spec.size);
      const told = result.outcomes[DONE] ?? 0;
      if (onSale !== told || taken !== told) {
        wrong.push(`it told ${told} that they have one, issued ${onSale}, and took ${taken}`);
      }
      return measurementOf(result, { commits, roundTrips: null }, wrong);
    },
  });
  const parts = databases.flatMap((database) => CALLERS.map((callers) => part(database, callers)));
  const measured = await measureParts(context, CONTENDERS, parts);
  return { group: 'growth', parts: measured.reports, ratios: ratiosOf(measured.rows) };
}

function settingOf({ issued }: GrowthScale) {
  return { 'issued before, small': issued.small, 'issued before, large': issued.large };
}

async function issue(load: LoadProcess, callers: number, ms: number) {
  const drive = { kind: 'drive', callers, first: 1, numbers: null, until: { ms } } as const;
  const result = await load.carryOut(drive);
  const wrong = Object.keys(result.outcomes)
    .filter((word) => word !== DONE)
    .map((word) => `new members were told: ${word}`);
  return { result, wrong };
}

function ratiosOf(measured: ReadonlyMap<string, MeasuredRows>): Record<string, Ratio> {
  const ratios: Record<string, Ratio> = {};
  for (const database of databases) {
    for (const callers of CALLERS) {
      const rows = measured.get(partOf(database, callers));
      const [large, small] = [rows?.get(rowOf(database, 'large')), rows?.get(rowOf(database, 'small'))];
      ratios[ratioOf(database, callers)] = compared(large, small, P50, DEMAND);
    }
  }
  return ratios;
}
