import { alternate, type Measured, type Measurement } from '../../measurement.ts';
import { type PartReport, partReport } from '../../report/report.ts';
import type { MeasureContext } from '../group.ts';
import type { DriveOrder } from './load-messages.ts';
import { type LoadProcess, startLoad } from './load-process.ts';
import { countRoundTrips, haveWritesCounted } from './measure.ts';
import type { OperationSpec } from './operation.ts';
import type { MeasuredRows } from './ratios.ts';

/** One table of a group: rows that do the same, in turn. */
export interface OperationPart<Spec extends OperationSpec> {
  readonly part: string;
  readonly setting: PartReport['setting'];
  /** The row to which all are compared, and by which figure. */
  readonly limit: PartReport['limit'];
  readonly specs: readonly Spec[];
  /**
   * How round trips are counted: what has connections opened and statements prepared, and then what is counted. Null: they are not.
   * Before either, whatever is stored is made ready.
   */
  roundTrips(spec: Spec): Promise<{ readonly warmUp: DriveOrder; readonly counted: DriveOrder } | null>;
  /** @param round  0: the first, to warm up. */
  measure(spec: Spec, load: LoadProcess, round: number, roundTrips: number | null): Promise<Measurement>;
}

export interface MeasuredParts {
  readonly reports: readonly PartReport[];
  /** By the names of the parts. */
  readonly rows: ReadonlyMap<string, MeasuredRows>;
}

/**
 * Measures the parts, one after the other, each row in a process of its own.
 *
 * @param contenders  The group's `contenders.ts`.
 * @throws as startLoad does, and the signal's reason. Nothing of it runs on by then.
 */
export async function measureParts<Spec extends OperationSpec>(
  { servers, signal, rounds, progress }: MeasureContext,
  contenders: URL,
  parts: readonly OperationPart<Spec>[],
): Promise<MeasuredParts> {
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  try {
    await haveWritesCounted(servers);
    const loads = new Map<string, LoadProcess>();
    for (const row of new Set(parts.flatMap(({ specs }) => specs).map((spec) => spec.row))) {
      progress(`opening: ${row}`);
      loads.set(row, await startLoad({ contenders, row, urls: servers }, stop));
    }
    const reports: PartReport[] = [];
    const rows = new Map<string, ReadonlyMap<string, Measured>>();
    for (const { part, setting, limit, specs, roundTrips, measure } of parts) {
      const counts = new Map<Spec, number>();
      for (const spec of specs) {
        progress(`${part}: round trips, ${spec.row}`);
        const orders = await roundTrips(spec);
        if (orders === null) continue;
        const plan = { contenders, row: spec.row, urls: servers };
        counts.set(
          spec,
          await countRoundTrips(
            plan,
            stop,
            (load) => load.carryOut(orders.warmUp),
            async (load) => (await load.carryOut(orders.counted)).latencyMs.length,
          ),
        );
      }
      const measured = await alternate(specs, rounds, (spec, round) => {
        stop.throwIfAborted();
        progress(`${part}: round ${round} of ${rounds}, ${spec.row}`);
        return measure(spec, loads.get(spec.row) as LoadProcess, round, counts.get(spec) ?? null);
      });
      const titled = [...measured].map(([{ row, own, settings }, one]) => ({
        title: { row, own, settings },
        measured: one,
      }));
      reports.push(partReport({ part, setting, limit }, titled));
      rows.set(part, new Map([...measured].map(([{ row }, one]) => [row, one])));
    }
    return { reports, rows };
  } finally {
    ended.abort(new Error('the group has ended'));
  }
}

/** Operations whose round trips are counted: enough that a few more for what goes on beside them do not show. */
const COUNTED = 4;
const FEWEST_COUNTED = 100;

/** As many callers as are measured; the warm-up is as many as connect at once. */
export function countedOrders(
  callers: number,
  { first, numbers }: Pick<DriveOrder, 'first' | 'numbers'>,
): { readonly warmUp: DriveOrder; readonly counted: DriveOrder } {
  const order = { kind: 'drive', callers, numbers } as const;
  const [before, counted] = [2 * callers, Math.max(FEWEST_COUNTED, COUNTED * callers)];
  return {
    warmUp: { ...order, first, until: { operations: before } },
    counted: { ...order, first: numbers === null ? first + before : first, until: { operations: counted } },
  };
}
