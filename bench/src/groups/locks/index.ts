import { alternate, type Measurement } from '../../measurement.ts';
import { type GroupReport, type PartReport, partReport } from '../../report/report.ts';
import type { Group, MeasureContext } from '../group.ts';
import {
  DRAIN_MS,
  type Loads,
  measureBursts,
  measureContended,
  SECTION_MS,
  SECTIONS_PER_SECOND,
  WORKERS,
} from './contended.ts';
import { BARE_REDIS, type ContenderSpec, contenders, PROMISE_MUTEX } from './contenders.ts';
import { type LoadProcess, startLoad } from './load-process.ts';
import { type Part, ratiosOf } from './ratios.ts';
import { countRoundTrips, measureUncontended, PAIRS_PER_SECOND, ROUND_TRIPS } from './uncontended.ts';

/** How long it takes: what one round does with one row. */
export interface LocksScale {
  readonly contendedMs: number;
  readonly bursts: number;
  readonly uncontendedMs: number;
}

const FULL: LocksScale = { contendedMs: 2_000, bursts: 5, uncontendedMs: 1_500 };
const QUICK: LocksScale = { contendedMs: 400, bursts: 1, uncontendedMs: 200 };

/** How many rounds a row that takes locks of its own has to warm up. */
const WARM_UPS = 2;

/** The processes of a row that reaches beyond one. */
const PROCESSES = 2;

const CONTENDED = 'contended';
const BURST = 'burst';
const uncontended = (callers: number) => `uncontended, ${callers} ${callers === 1 ? 'caller' : 'callers'}`;

/**
 * Locks: many workers who want the same one, all at once and again and again; and callers who each want their own.
 *
 * Correctness first: sections must not overlap, by the clock that all processes share, and none may lose what it has
 * written to a number that all of them count up.
 */
export const locks: Group = (context) => measureLocks(context, context.quick ? QUICK : FULL);

/** @param rows  Their names; absent: all. */
export async function measureLocks(
  context: MeasureContext,
  scale: LocksScale,
  rows: readonly string[] = contenders.map(({ row }) => row),
): Promise<GroupReport> {
  const { servers, signal, directory } = context;
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  try {
    const loads: Loads[] = [];
    for (const spec of contenders.filter(({ row }) => rows.includes(row))) {
      context.progress(`opening: ${spec.row}`);
      const processes = spec.reach === 'process' ? 1 : PROCESSES;
      const started = Array.from({ length: processes }, () => startLoad(spec.row, servers, stop));
      loads.push({ spec, processes: await Promise.all(started), directory });
    }
    return await measureParts(loads, context, scale);
  } finally {
    ended.abort(new Error('the group has ended'));
  }
}

async function measureParts(
  loads: readonly Loads[],
  context: MeasureContext,
  scale: LocksScale,
): Promise<GroupReport> {
  const { rounds, servers, signal, progress } = context;
  const { contendedMs, bursts, uncontendedMs } = scale;
  const waiting = loads.filter(({ spec }) => spec.waits);
  const part = (
    name: string,
    subjects: readonly Loads[],
    measure: (one: Loads, key: string, round: number) => Promise<Measurement>,
  ) =>
    alternate(subjects, rounds, (one, round) => {
      progress(`${name}: round ${round} of ${rounds}, ${one.spec.row}`);
      return measure(one, `bench:${name}:${one.spec.row}:${round}:`.replaceAll(' ', '-'), round);
    });
  const ownKeysFor = (callers: number, one: Loads, key: string, round: number) => {
    // The bare row has not contended before, as all others have.
    const durationMs = round === 0 ? WARM_UPS * uncontendedMs : uncontendedMs;
    return measureUncontended(firstOf(one), callers, durationMs, key);
  };

  const contended = await part(CONTENDED, waiting, (one, key) => measureContended(one, contendedMs, key));
  const burst = await part(BURST, waiting, (one, key) => measureBursts(one, bursts, key));
  const busy = await part(uncontended(WORKERS), loads, (...of) => ownKeysFor(WORKERS, ...of));
  const roundTrips = new Map<Loads, number>();
  for (const one of loads) {
    progress(`round trips: ${one.spec.row}`);
    roundTrips.set(one, await countRoundTrips(one.spec.row, servers, signal));
  }
  const single = await part(uncontended(1), loads, async (one, ...of) => {
    const measured = await ownKeysFor(1, one, ...of);
    return { ...measured, figures: { ...measured.figures, [ROUND_TRIPS]: roundTrips.get(one) ?? null } };
  });

  const shared = { workers: WORKERS, processes: PROCESSES, 'section ms': SECTION_MS };
  const ownKeys = (callers: number) => ({ callers, processes: 1, keys: callers, 'round ms': uncontendedMs });
  const limit = (row: string, figure: string) => ({ limit: { row, figure } });
  const parts: PartReport[] = [
    partReport(
      {
        part: CONTENDED,
        setting: { ...shared, keys: 1, 'round ms': contendedMs },
        ...limit(PROMISE_MUTEX, SECTIONS_PER_SECOND),
      },
      titled(contended),
    ),
    partReport(
      { part: BURST, setting: { ...shared, keys: 1, bursts }, ...limit(PROMISE_MUTEX, DRAIN_MS) },
      titled(burst),
    ),
    partReport(
      { part: uncontended(WORKERS), setting: ownKeys(WORKERS), ...limit(BARE_REDIS, PAIRS_PER_SECOND) },
      titled(busy),
    ),
    partReport(
      { part: uncontended(1), setting: ownKeys(1), ...limit(BARE_REDIS, PAIRS_PER_SECOND) },
      titled(single),
    ),
  ];
  return { group: 'locks', parts, ratios: ratiosOf({ contended, burst, busy, single }) };
}

function firstOf({ spec, processes }: Loads): LoadProcess {
  const [first] = processes;
  if (first === undefined) throw new RangeError(`${spec.row} has no process`);
  return first;
}

function titled(measured: Part) {
  return [...measured].map(([{ spec }, one]) => ({ title: titleOf(spec), measured: one }));
}

function titleOf({ row, own, settings }: ContenderSpec) {
  return { row, own, settings };
}
