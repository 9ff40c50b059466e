import { startCluster } from '../cluster/cluster.ts';
import { currentCommit } from '../report/commit.ts';
import { exitCodeOf } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../report/table.ts';
import { checkWritable, writeReport } from '../report/write-report.ts';
import { planRace, type RaceArguments } from './plan-race.ts';
import type { Terminal } from './terminal.ts';

/**
 * Starts a cluster, runs the experiment, prints what was seen.
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
  const { cluster: wanted, run, again, notes } = planRace(given);
  const { gateway } = wanted;
  if (json !== undefined) await checkWritable(json);
  const cluster = await startCluster({
    ...wanted,
    ...{ store, seed, signal },
    onProgress: (text) => terminal.progress(`starting: ${text}`),
  });
  try {
    const reports = await run(cluster, {
      setting: { store: withoutCredentials(store), gateway, seed, commit: await currentCommit() },
      signal: AbortSignal.any([signal, cluster.guardian.lost]),
      progress: (text) => terminal.progress(text),
    });
    terminal.progress('');
    terminal.print(...headingOf(reports), '');
    terminal.print(tableOf(reports), '');
    const remarks = remarksOf(reports);
    // What was skipped has been said with its run.
    const others = cluster.notes.filter((note) => !remarks.some((remark) => remark.includes(note)));
    terminal.print(...remarks, ...others, ...notes);
    terminal.print(`Again: npm run race -- ${again}`);
    // Last, so that a disk that is full costs the file and not the evidence.
    if (json !== undefined) await writeReport(json, reports);
    return exitCodeOf(reports);
  } finally {
    terminal.progress('');
    await cluster.close();
  }
}
