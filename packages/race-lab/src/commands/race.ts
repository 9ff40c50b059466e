import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { currentCommit } from '../report/commit.ts';
import { exitCodeOf, type RunReport } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../report/table.ts';
import { checkWritable, writeReport } from '../report/write-report.ts';
import { planRace, type RaceArguments } from './plan-race.ts';
import type { Terminal } from './terminal.ts';

/**
 * Runs the experiment, each of its stages on a cluster of its own, and prints what was seen.
 *
 * @returns the exit code
 * @throws BadArgumentsError  The arguments do not go together, or the file for the reports cannot be written; nothing
 *   was started.
 */
export async function raceCommand(
  given: RaceArguments,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { store, seed, json } = given;
  const { stages, again, notes } = planRace(given);
  if (json !== undefined) await checkWritable(json);
  const commit = await currentCommit();
  const reports: RunReport[] = [];
  const replaced = new Set<string>();
  let cluster: Cluster | undefined;
  try {
    for (const { cluster: wanted, run } of stages) {
      await cluster?.close();
      cluster = await startCluster({
        ...wanted,
        ...{ store, seed, signal },
        // What a strategy leaves is to be seen, and not given back behind its back.
        shopEnv: { RECONCILE_EVERY_MS: '0', ...wanted.shopEnv },
        onProgress: (text) => terminal.progress(`starting: ${text}`),
      });
      const seen = await run(cluster, {
        setting: { store: withoutCredentials(store), gateway: wanted.gateway, seed, commit },
        signal: AbortSignal.any([signal, cluster.guardian.lost]),
        progress: (text) => terminal.progress(text),
      });
      reports.push(...seen);
      for (const note of cluster.notes) replaced.add(note);
    }
    terminal.progress('');
    terminal.print(...headingOf(reports), '');
    terminal.print(tableOf(reports), '');
    const remarks = remarksOf(reports);
    // What was skipped has been said with its run.
    const others = [...replaced].filter((note) => !remarks.some((remark) => remark.includes(note)));
    terminal.print(...remarks, ...others, ...notes);
    terminal.print(`Again: npm run race -- ${again}`);
    // Last, so that a disk that is full costs the file and not the evidence.
    if (json !== undefined) await writeReport(json, reports);
    return exitCodeOf(reports);
  } finally {
    terminal.progress('');
    await cluster?.close();
  }
}
