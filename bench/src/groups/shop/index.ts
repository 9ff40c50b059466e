import type { Ratio } from '../../ratio.ts';
import type { GroupReport, PartReport } from '../../report/report.ts';
import type { Group, GroupContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import { countWrites, measurementOf, P50, PER_SECOND } from '../operations/measure.ts';
import { measureParts, type OperationPart } from '../operations/parts.ts';
import { atLeast, atMost, compared, type MeasuredRows } from '../operations/ratios.ts';
import { contenders, DONE, ISSUE, PING, REFUSAL, type ShopSpec } from './contenders.ts';
import { readRemaining, startShop } from './target.ts';

/** How long it takes: what one round does with one row. */
export interface ShopScale {
  /** For the first round, which is not counted: an instance that has just been started compiles while it answers. */
  readonly warmUpMs: number;
  readonly roundMs: number;
}

const FULL: ShopScale = { warmUpMs: 2_000, roundMs: 2_000 };
const QUICK: ShopScale = { warmUpMs: 800, roundMs: 400 };

const CONNECTIONS = 64;
const CONTENDERS = new URL('./contenders.ts', import.meta.url);
const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];

const partOf = (database: DatabaseName) => `${database}, ${CONNECTIONS} connections`;

/** No round asks with a member of another. */
const MEMBERS_A_ROUND = 1_000_000;

/**
 * The shop over HTTP, one instance, asked by a process of its own over connections that it keeps: what its routes cost beside one
 * that does nothing.
 *
 * Correctness: everybody is answered as he must be, and what is left of the coupon fits what was issued.
 */
export const shop: Group = (context) => measureShop(context, context.quick ? QUICK : FULL);

/** @param on  The databases; absent: all. */
export async function measureShop(
  context: Omit<GroupContext, 'quick'>,
  { warmUpMs, roundMs }: ShopScale,
  on = databases,
): Promise<GroupReport> {
  const { guardian, signal, progress } = context;
  const reports: PartReport[] = [];
  const ratios: Record<string, Ratio> = {};
  for (const database of on) {
    progress(`starting the shop on ${database}`);
    const options = { database, instances: 1, pays: true, servers: context.servers, guardian, signal };
    const { target, stop } = await startShop(options);
    const servers = { ...context.servers, shop: target };
    const part: OperationPart<ShopSpec> = {
      part: partOf(database),
      setting: { connections: CONNECTIONS, instances: 1, 'warm-up ms': warmUpMs, 'round ms': roundMs },
      limit: { row: PING, figure: PER_SECOND },
      specs: contenders,
      roundTrips: async () => null,
      async measure({ row, expected }, load, round) {
        const first = (round + 1) * MEMBERS_A_ROUND;
        const leftBefore = await readRemaining(target);
        const writesBefore = await countWrites(servers);
        const drive = { kind: 'drive', callers: CONNECTIONS, first, numbers: null } as const;
        const result = await load.carryOut({ ...drive, until: { ms: round === 0 ? warmUpMs : roundMs } });
        const commits = (await countWrites(servers)) - writesBefore;
        const wrong = Object.entries(result.outcomes)
          .filter(([word]) => word !== expected)
          .map(([word, times]) => `${times} times it was not ${expected}, but ${word}`);
        const issued = leftBefore - (await readRemaining(target));
        const told = row === ISSUE ? (result.outcomes[DONE] ?? 0) : 0;
        if (issued !== told) wrong.push(`it told ${told} that they have a coupon, and issued ${issued}`);
        return measurementOf(result, { commits, roundTrips: null }, wrong);
      },
    };
    const measured = await measureParts({ ...context, servers }, CONTENDERS, [part]);
    reports.push(...measured.reports);
    await stop();
    Object.assign(ratios, ratiosOf(database, measured.rows.get(partOf(database))));
  }
  return { group: 'shop', parts: reports, ratios };
}

function ratiosOf(database: DatabaseName, rows: MeasuredRows | undefined): Record<string, Ratio> {
  const ping = rows?.get(PING);
  return {
    [`shop-issue-${database}`]: compared(rows?.get(ISSUE), ping, PER_SECOND, atLeast(0.6, 0.9)),
    [`shop-refusal-${database}`]: compared(rows?.get(REFUSAL), ping, P50, atMost(2.5, 1.5)),
  };
}
