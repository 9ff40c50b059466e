import { exitCodes } from '../../../packages/race-lab/src/report/report.ts';
import { figureOf, type Measured } from '../measurement.ts';
import type { Ratio } from '../ratio.ts';
import type { ServerSettings } from '../servers.ts';
import { quotients, type Spread, spreadOf } from '../statistics.ts';

export interface BenchReport {
  readonly schema: 'pawl-bench/1';
  readonly commit: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** Runs it again. */
  readonly command: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly machine: { readonly processors: number; readonly model: string; readonly node: string };
  /** How busy all processors were, whoever used them: shares from 0 to 1. */
  readonly processorsBefore: number;
  readonly servers: Readonly<Record<string, ServerSettings>>;
  readonly groups: readonly GroupReport[];
  /** Of all groups, by names that are unique. */
  readonly ratios: Readonly<Record<string, Ratio>>;
}

export interface GroupReport {
  readonly group: string;
  readonly parts: readonly PartReport[];
  readonly ratios: Readonly<Record<string, Ratio>>;
}

/** One table: rows that did the same, in turn. */
export interface PartReport {
  readonly part: string;
  readonly setting: Readonly<Record<string, string | number>>;
  /** The row and the figure that `ofLimit` refers to; null where the rows have no limit in common. */
  readonly limit: { readonly row: string; readonly figure: string } | null;
  readonly rows: readonly RowReport[];
}

export interface RowReport {
  readonly row: string;
  /** Whether it is the library's own, which must be right. */
  readonly own: boolean;
  /** How it was set, in words. */
  readonly settings: string;
  readonly figures: Readonly<Record<string, Spread | null>>;
  /** Its figure divided by the limit's, of each round. */
  readonly ofLimit: Spread | null;
  /** In all rounds, the warm-up included, as are the next two. */
  readonly failures: Readonly<Record<string, number>>;
  readonly wrong: readonly string[];
  readonly firstError: string | null;
}

/** What a row is, beside what was measured. */
export interface RowTitle {
  readonly row: string;
  readonly own: boolean;
  readonly settings: string;
}

/** Puts the rows of a part together. `limit` names one of them; without it no row has a quotient. */
export function partReport(
  part: Pick<PartReport, 'part' | 'setting' | 'limit'>,
  measured: readonly { readonly title: RowTitle; readonly measured: Measured }[],
): PartReport {
  const { row: limitRow, figure = '' } = part.limit ?? {};
  const limit = measured.find(({ title }) => title.row === limitRow)?.measured;
  const ofLimit = (row: Measured) => {
    if (limit === undefined) return null;
    const rounds = quotients(figureOf(row, figure), figureOf(limit, figure));
    return rounds === null ? null : spreadOf(rounds);
  };
  const rows = measured.map(({ title, measured: row }) => {
    const all = [row.warmUp, ...row.rounds];
    return {
      ...title,
      figures: figuresOf(row),
      ofLimit: ofLimit(row),
      failures: summed(all.map(({ failures }) => failures)),
      wrong: [...new Set(all.flatMap((one) => one.wrong))],
      firstError: all.find(({ firstError }) => firstError !== null)?.firstError ?? null,
    };
  });
  return { ...part, rows };
}

function figuresOf(row: Measured): Record<string, Spread | null> {
  const figures: Record<string, Spread | null> = {};
  for (const name of Object.keys(row.warmUp.figures)) {
    figures[name] = spreadOf(figureOf(row, name).filter((value) => value !== null));
  }
  return figures;
}

function summed(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, count] of all.flatMap((one) => Object.entries(one))) {
    sums[name] = (sums[name] ?? 0) + count;
  }
  return sums;
}

/** 1: a ratio misses its floor, or a row of the library's own is wrong. 2: a ratio could not be had. */
export function exitCodeOf({
  groups,
  ratios,
  quick,
}: Pick<BenchReport, 'groups' | 'ratios' | 'quick'>): number {
  const holds = Object.values(ratios).map((ratio) => ratio.holds);
  const rows = groups.flatMap(({ parts }) => parts).flatMap((part) => part.rows);
  if (holds.includes(false) || rows.some(({ own, wrong }) => own && wrong.length > 0)) {
    return exitCodes.notAsExpected;
  }
  // In a quick run some are left out on purpose.
  return holds.includes(null) && !quick ? exitCodes.unknown : exitCodes.asExpected;
}
