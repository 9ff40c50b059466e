import type { RecoveryCell } from './recovery-cells.ts';

/** Cells without a victim that are raced beside each other: all their orders are on two cores. */
const MOST_BESIDE = 4;

/**
 * Which cells are raced beside each other: those that take about as long, those without a victim for themselves, and never more
 * victims than leave one instance unharmed.
 */
export function wavesOf(cells: readonly RecoveryCell[], instances: number): RecoveryCell[][] {
  const most = (cell: RecoveryCell) => (cell.victim === undefined ? MOST_BESIDE : Math.max(1, instances - 1));
  const alike = Map.groupBy(cells, ({ victim, sessionMs, path }) =>
    [victim?.does ?? 'none', sessionMs, path.mayOutlastSession ?? false].join(' '),
  );
  return [...alike.values()].flatMap((some) => {
    const waves: RecoveryCell[][] = [];
    for (const cell of some) {
      const last = waves.at(-1);
      if (last === undefined || last.length >= most(cell)) waves.push([cell]);
      else last.push(cell);
    }
    return waves;
  });
}
