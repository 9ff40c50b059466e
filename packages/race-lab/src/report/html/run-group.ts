import type { RunReport } from '../report.ts';
import { runNameOf } from '../table.ts';

/** Runs of one kind that are shown together, at least one: a strategy's, in one scenario or under one fault. */
export interface RunGroup {
  name: string;
  runs: readonly RunReport[];
}

export function runGroups(reports: readonly RunReport[]): RunGroup[] {
  const gateways = new Set(reports.map(({ gateway }) => gateway));
  // The recovery race meets several providers, under the same names.
  const nameOf = (run: RunReport) =>
    gateways.size > 1 ? `${runNameOf(run)}, ${run.gateway}` : runNameOf(run);
  return [...Map.groupBy(reports, nameOf)].map(([name, runs]) => ({ name, runs }));
}

/** Those that took place. */
export function ranIn({ runs }: RunGroup): RunReport[] {
  return runs.filter(({ skipped }) => skipped === null);
}

export function total(
  runs: readonly RunReport[],
  figure: (run: RunReport) => number | null | undefined,
): number {
  return runs.reduce((sum, run) => sum + (figure(run) ?? 0), 0);
}
