import { resolve } from 'node:path';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { currentCommit } from '../report/commit.ts';
import { htmlPageOf } from '../report/html/page.ts';
import { exitCodeOf, type RunReport } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../report/table.ts';
import { checkWritable, writeReport, writeWhole } from '../report/write-report.ts';
import { BadArgumentsError } from './arguments.ts';
import { planRace, type RaceArguments } from './plan-race.ts';
import type { Terminal } from './terminal.ts';

/** Files that the reports go to; undefined: none. */
export interface RaceOutput {
  json: string | undefined;
  /** As a page. */
  html: string | undefined;
}

/**
 * Runs the experiment, each of its stages on a cluster of its own, and prints what was seen.
 *
 * @returns the exit code
 * @throws BadArgumentsError  The arguments do not go together, or the file for the reports cannot be written; nothing
 *   was started.
 */
export async function raceCommand(
  given: RaceArguments & RaceOutput,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { store, seed, json, html } = given;
  const { stages, again: options, notes } = planRace(given);
  const again = `npm run race -- ${options}`;
  await checkOutput({ json, html });
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
      reports.push(...seen.map((report) => ({ ...report, again })));
      for (const note of cluster.notes) replaced.add(note);
    }
    terminal.progress('');
    terminal.print(...headingOf(reports), '');
    terminal.print(tableOf(reports), '');
    const remarks = remarksOf(reports);
    // What was skipped has been said with its run.
    const others = [...replaced].filter((note) => !remarks.some((remark) => remark.includes(note)));
    terminal.print(...remarks, ...others, ...notes);
    terminal.print(`Again: ${again}`);
    // Last, so that a disk that is full costs the file and not the evidence.
    if (json !== undefined) await writeReport(json, reports);
    if (html !== undefined) await writeWhole(html, htmlPageOf(reports));
    return exitCodeOf(reports);
  } finally {
    terminal.progress('');
    await cluster?.close();
  }
}

/** @throws BadArgumentsError  A file cannot be written, or both are one. */
async function checkOutput({ json, html }: RaceOutput): Promise<void> {
  if (json !== undefined) await checkWritable(json, '--json');
  if (html === undefined) return;
  await checkWritable(html, '--html');
  if (json !== undefined && resolve(json) === resolve(html))
    throw new BadArgumentsError(`--json and --html both name ${html}`);
}
