import { join } from 'node:path';
import { momentIn } from '../../clock.ts';
import type { Measurement } from '../../measurement.ts';
import { spreadOf } from '../../statistics.ts';
import type { ContenderSpec } from './contenders.ts';
import type { ContendOrder, ContendResult } from './load-messages.ts';
import type { LoadProcess } from './load-process.ts';
import { type Section, sectionsOf, shareOf, waitsOf, wrongIn } from './sections.ts';
import { readCounter, resetCounter } from './shared-counter.ts';

/** Of all processes together. */
export const WORKERS = 64;
export const SECTION_MS = 1;
/** Until all processes have the order, in milliseconds. */
const LEAD_MS = 50;

export const SECTIONS_PER_SECOND = 'sections/s';
export const LEAST_SHARE = 'least ÷ mean';
export const MOST_SHARE = 'most ÷ mean';
export const DRAIN_MS = 'drained ms';

/** The processes of one row. */
export interface Loads {
  readonly spec: ContenderSpec;
  readonly processes: readonly LoadProcess[];
  /** A throw-away directory. */
  readonly directory: string;
}

/** All workers take the same lock, again and again. */
export async function measureContended(loads: Loads, durationMs: number, key: string): Promise<Measurement> {
  const { results, counted } = await contendAtOnce(loads, { key, untilMs: durationMs });
  const sections = sectionsOf(results);
  const inTime = sections.filter(({ leftMs }) => leftMs <= durationMs);
  const waits = waitsOf(sections);
  const share = shareOf(inTime, WORKERS);
  return {
    figures: {
      [SECTIONS_PER_SECOND]: (inTime.length * 1_000) / durationMs,
      'wait p50 ms': waits?.p50 ?? null,
      'wait p99 ms': waits?.p99 ?? null,
      'wait max ms': waits?.max ?? null,
      [LEAST_SHARE]: share?.least ?? null,
      [MOST_SHARE]: share?.most ?? null,
    },
    ...judged(sections, counted, results),
  };
}

/** All workers take the same lock at the same moment, each once; so often. */
export async function measureBursts(loads: Loads, bursts: number, prefix: string): Promise<Measurement> {
  const seen: Measurement[] = [];
  for (let burst = 1; burst <= bursts; burst++) seen.push(await measureBurst(loads, `${prefix}${burst}`));
  const median = (name: string) => {
    const values = seen.flatMap(({ figures }) => figures[name] ?? []);
    return values.length < bursts ? null : (spreadOf(values)?.median ?? null);
  };
  const [first] = seen;
  return {
    figures: Object.fromEntries(Object.keys(first?.figures ?? {}).map((name) => [name, median(name)])),
    failures: {
      'not granted': total(seen.map(({ failures }) => failures['not granted'] ?? 0)),
      errors: total(seen.map(({ failures }) => failures.errors ?? 0)),
    },
    wrong: seen.flatMap(({ wrong }) => wrong),
    firstError: seen.find(({ firstError }) => firstError !== null)?.firstError ?? null,
  };
}

async function measureBurst(loads: Loads, key: string): Promise<Measurement> {
  const { results, counted } = await contendAtOnce(loads, { key, untilMs: null });
  const sections = sectionsOf(results);
  const asked = sections.map(({ askedMs }) => askedMs);
  const waits = waitsOf(sections);
  const through = sections.length === WORKERS;
  return {
    figures: {
      // A lock that turns somebody away has not served them all, however soon.
      [DRAIN_MS]: through ? Math.max(...sections.map(({ leftMs }) => leftMs)) - Math.min(...asked) : null,
      'wait p50 ms': waits?.p50 ?? null,
      'asked within ms': through ? Math.max(...asked) - Math.min(...asked) : null,
    },
    ...judged(sections, counted, results),
  };
}

type Contention = Pick<ContendOrder, 'key' | 'untilMs'>;

async function contendAtOnce(
  { processes, directory }: Loads,
  contention: Contention,
): Promise<{ readonly results: readonly ContendResult[]; readonly counted: number }> {
  const counterFile = join(directory, 'sections');
  resetCounter(counterFile);
  const startAt = momentIn(LEAD_MS);
  const count = WORKERS / processes.length;
  const results = await Promise.all(
    processes.map((load, index) =>
      load.carryOut({
        ...{ kind: 'contend', ...contention, startAt, counterFile },
        ...{ workers: { first: index * count, count }, sectionMs: SECTION_MS },
      }),
    ),
  );
  return { results, counted: readCounter(counterFile) };
}

function judged(
  sections: readonly Section[],
  counted: number,
  results: readonly ContendResult[],
): Pick<Measurement, 'failures' | 'wrong' | 'firstError'> {
  return {
    failures: {
      'not granted': total(results.map(({ notGranted }) => notGranted)),
      errors: total(results.map(({ errors }) => errors)),
    },
    wrong: wrongIn(sections, counted),
    firstError: results.find(({ firstError }) => firstError !== null)?.firstError ?? null,
  };
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
