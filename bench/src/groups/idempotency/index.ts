import type { Measurement } from '../../measurement.ts';
import type { Demand, Ratio } from '../../ratio.ts';
import type { GroupReport } from '../../report/report.ts';
import type { ServerUrls } from '../../servers.ts';
import type { Group, MeasureContext } from '../group.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import type { LoadProcess } from '../operations/load-process.ts';
import { countWrites, measurementOf, PER_SECOND } from '../operations/measure.ts';
import { countedOrders, measureParts, type OperationPart } from '../operations/parts.ts';
import { atLeast, compared, type MeasuredRows } from '../operations/ratios.ts';
import { openRecords, type Records } from './contenders/records.ts';
import {
  BARE_GET,
  BARE_SET,
  byHandRow,
  contenders,
  groupedRow,
  type IdempotencySpec,
  type Kind,
  NODE_IDEMPOTENCY,
  PAWL_REDIS,
} from './contenders.ts';
import { IN_PROGRESS, RAN, REPLAYED, RESULT_BYTES } from './result.ts';

/** How long it takes: what one round does with one row. */
export interface IdempotencyScale {
  /** For the first round, which is not counted: what has just been started compiles while it answers. */
  readonly warmUpMs: number;
  readonly roundMs: number;
  /** Whether the rows are measured that no ratio needs. */
  readonly peers: boolean;
  readonly callers: readonly number[];
}

const FEW = 1;
const MANY = 64;

const FULL: IdempotencyScale = { warmUpMs: 2_000, roundMs: 1_500, peers: true, callers: [MANY, FEW] };
const QUICK: IdempotencyScale = { warmUpMs: 800, roundMs: 400, peers: false, callers: [MANY] };

/** What every row must get right: so many keys, each asked with so often at about the same time. */
const RACE = { keys: 16, requests: 8, callers: 64 };

const CONTENDERS = new URL('./contenders.ts', import.meta.url);
const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];

const partOf = (kind: Kind, callers: number) => `${kind}, ${callers} ${callers === 1 ? 'caller' : 'callers'}`;

/**
 * Idempotency keys: work that does nothing, done under a fresh key each time, and its result told again.
 *
 * Correctness first: of many requests with one key that come at about the same time one runs the work, and after it everybody is told
 * its very result; in each round all fresh keys run, and all others replay.
 */
export const idempotency: Group = (context) => measureIdempotency(context, context.quick ? QUICK : FULL);

/** @param rows  Their names; absent: all. */
export async function measureIdempotency(
  context: MeasureContext,
  scale: IdempotencyScale,
  rows: readonly string[] = contenders.map(({ row }) => row),
): Promise<GroupReport> {
  const servers = withOwnRedis(context.servers);
  const specs = contenders.filter(({ row, quick }) => rows.includes(row) && (quick || scale.peers));
  const records = await openRecords(servers);
  const part = (kind: Kind, callers: number): OperationPart<IdempotencySpec> => ({
    part: partOf(kind, callers),
    setting: {
      callers,
      processes: 1,
      'result bytes': RESULT_BYTES,
      'warm-up ms': scale.warmUpMs,
      'round ms': scale.roundMs,
    },
    limit: { row: kind === 'fresh' ? BARE_SET : BARE_GET, figure: PER_SECOND },
    specs: specs.filter(({ kinds }) => kinds.includes(kind)),
    async roundTrips({ where }) {
      if (where === null) return null;
      await records.clear(where);
      return countedOrders(callers, { first: 1, numbers: kind === 'fresh' ? null : callers });
    },
    measure(spec, load, round, roundTrips) {
      const row = { spec, load, records, servers };
      const durationMs = round === 0 ? scale.warmUpMs : scale.roundMs;
      return measureKeys(row, kind, callers, durationMs, { first: round === 0, roundTrips });
    },
  });
  try {
    const parts = (['fresh', 'replay'] as const).flatMap((kind) =>
      scale.callers.map((callers) => part(kind, callers)),
    );
    const measured = await measureParts({ ...context, servers }, CONTENDERS, parts);
    return { group: 'idempotency', parts: measured.reports, ratios: ratiosOf(measured.rows) };
  } finally {
    await records.close();
  }
}

/** All keys of a database of Redis go again and again: this one is nobody else's. */
function withOwnRedis(urls: ServerUrls): ServerUrls {
  return { ...urls, redis: Object.assign(new URL(urls.redis), { pathname: '/9' }).href };
}

/** A row that is measured. */
interface Keyed {
  readonly spec: Pick<IdempotencySpec, 'where' | 'guards'>;
  readonly load: Pick<LoadProcess, 'carryOut'>;
  readonly records: Pick<Records, 'clear'>;
  readonly servers: ServerUrls;
}

/** One round. In the first, many must also ask with one key. */
async function measureKeys(
  { spec, load, records, servers }: Keyed,
  kind: Kind,
  callers: number,
  durationMs: number,
  { first, roundTrips }: { first: boolean; roundTrips: number | null },
): Promise<Measurement> {
  const wrong: string[] = [];
  if (first && spec.guards) {
    await records.clear(spec.where);
    wrong.push(...(await wrongInRace(load)));
  }
  await records.clear(spec.where);
  const stored = Array.from({ length: callers }, (_, index) => 1 + index);
  if (kind === 'replay') await load.carryOut({ kind: 'each', callers: 1, numbers: stored });
  const before = await countWrites(servers);
  const numbers = kind === 'fresh' ? null : callers;
  const result = await load.carryOut({
    kind: 'drive',
    callers,
    first: 1,
    numbers,
    until: { ms: durationMs },
  });
  const commits = (await countWrites(servers)) - before;
  const expected = kind === 'fresh' ? RAN : REPLAYED;
  for (const [outcome, count] of Object.entries(result.outcomes)) {
    if (outcome !== expected && spec.where !== null)
      wrong.push(`${count} times it was not ${expected}, but ${outcome}`);
  }
  return measurementOf(result, { commits, roundTrips }, wrong);
}

async function wrongInRace(load: Keyed['load']): Promise<string[]> {
  const { keys, requests, callers } = RACE;
  const numbers = Array.from({ length: keys * requests }, (_, index) => 1 + Math.floor(index / requests));
  const raced = await load.carryOut({ kind: 'each', callers, numbers });
  const again = await load.carryOut({ kind: 'each', callers, numbers });
  return wrongOutcomes(
    numbers.map((number, index) => ({ number, told: raced[index] ?? '' })),
    again,
  );
}

/**
 * @param raced  What everybody was told who asked at about the same time.
 * @param again  What everybody was told when all had been answered.
 * @returns one sentence for each thing that is not as it must be.
 */
export function wrongOutcomes(
  raced: readonly { readonly number: number; readonly told: string }[],
  again: readonly string[],
): string[] {
  const wrong = new Set<string>();
  for (const all of Map.groupBy(raced, ({ number }) => number).values()) {
    const ran = all.filter(({ told }) => told === RAN).length;
    if (ran !== 1) wrong.add(`of ${all.length} requests with one key ${ran} ran the work`);
  }
  for (const { told } of raced) {
    if (told !== RAN && told !== REPLAYED && told !== IN_PROGRESS) wrong.add(`it told: ${told}`);
  }
  const others = again.filter((told) => told !== REPLAYED);
  if (others.length > 0) {
    wrong.add(`of ${again.length} requests after the work ${others.length} were not replayed: ${others[0]}`);
  }
  return [...wrong];
}

function ratiosOf(measured: ReadonlyMap<string, MeasuredRows>): Record<string, Ratio> {
  const ratio = (kind: Kind, own: string, other: string, demand: Demand) => {
    const rows = measured.get(partOf(kind, MANY));
    return compared(rows?.get(own), rows?.get(other), PER_SECOND, demand);
  };
  const ratios: Record<string, Ratio> = {};
  for (const database of databases) {
    const own = groupedRow(database);
    const name = `sql-idempotency-${database}`;
    ratios[`${name}-fresh`] = ratio('fresh', own, byHandRow(database), atLeast(4, 8));
    ratios[`${name}-fresh-node-idempotency`] = ratio('fresh', own, NODE_IDEMPOTENCY, atLeast(0.7, 1));
    ratios[`${name}-replay-node-idempotency`] = ratio('replay', own, NODE_IDEMPOTENCY, atLeast(1, 2));
  }
  ratios['redis-idempotency-fresh'] = ratio('fresh', PAWL_REDIS, BARE_SET, atLeast(0.85, 0.95));
  ratios['redis-idempotency-replay'] = ratio('replay', PAWL_REDIS, BARE_GET, atLeast(0.7, 0.9));
  return ratios;
}
