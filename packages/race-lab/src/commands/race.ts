import { access, constants, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ClusterOptions, startCluster } from '../cluster/cluster.ts';
import { racePurchases } from '../experiments/purchase-race.ts';
import { type PurchaseStrategyName, purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
import { currentCommit } from '../report/commit.ts';
import { exitCodeOf } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../report/table.ts';
import { BadArgumentsError } from './arguments.ts';
import type { Terminal } from './terminal.ts';

export interface RaceCommand {
  strategies: readonly PurchaseStrategyName[];
  instances: number;
  orders: number;
  fanout: number;
  seed: number;
  store: ClusterOptions['store'];
  gateway: ClusterOptions['gateway'];
  /** Where the reports go as JSON. */
  json: string | undefined;
}

/**
 * Starts a cluster, races the strategies, prints what was seen.
 *
 * @returns the exit code
 * @throws BadArgumentsError  The file for the reports cannot be written; nothing was started.
 */
export async function raceCommand(
  command: RaceCommand,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { strategies, instances, orders, fanout, seed, store, gateway, json } = command;
  if (json !== undefined) await checkWritable(json);
  const cluster = await startCluster({
    instances,
    store,
    gateway,
    seed,
    signal,
    onProgress: (text) => terminal.progress(`starting: ${text}`),
  });
  try {
    const reports = await racePurchases(cluster, {
      strategies,
      orders,
      fanout,
      setting: { store: withoutCredentials(store), gateway, seed, commit: await currentCommit() },
      signal: AbortSignal.any([signal, cluster.guardian.lost]),
      onProgress: (strategy, done, total) =>
        terminal.progress(`racing ${strategy}: ${done} of ${total} orders`),
    });
    terminal.progress('');
    const [first] = reports;
    if (first !== undefined) terminal.print(headingOf(first), '');
    terminal.print(tableOf(reports), '');
    const remarks = remarksOf(reports);
    // What was skipped has been said with its run.
    const others = cluster.notes.filter((note) => !remarks.some((remark) => remark.includes(note)));
    terminal.print(...remarks, ...others);
    terminal.print(`Again: npm run race -- ${againWith(command)}`);
    // Last, so that a disk that is full costs the file and not the evidence.
    if (json !== undefined) await writeReports(json, reports);
    return exitCodeOf(reports);
  } finally {
    terminal.progress('');
    await cluster.close();
  }
}

/** The arguments that run the same race again. */
function againWith(command: RaceCommand): string {
  const { strategies, instances, orders, fanout, seed, store, gateway } = command;
  const all = strategies.length === purchaseStrategyNames.length;
  const which = all ? '' : `--strategy ${strategies.join(',')} `;
  const where = `--store ${withoutCredentials(store)} --gateway ${gateway} --instances ${instances}`;
  return `${which}${where} --orders ${orders} --fanout ${fanout} --seed ${seed}`;
}

async function checkWritable(file: string): Promise<void> {
  if (file === '') throw new BadArgumentsError('--json needs the name of a file');
  const found = await stat(file).catch(() => undefined);
  if (found !== undefined && !found.isFile()) throw new BadArgumentsError(`--json ${file}: it is not a file`);
  try {
    await access(dirname(file), constants.W_OK);
  } catch {
    throw new BadArgumentsError(`--json ${file}: the folder ${dirname(file)} cannot be written to`);
  }
}

/** Written whole or not at all. */
async function writeReports(file: string, reports: unknown): Promise<void> {
  const unfinished = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(unfinished, `${JSON.stringify(reports, null, 2)}\n`);
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
}
