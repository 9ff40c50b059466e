import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findRunningClusters, type RunningCluster } from '../cluster/running-clusters.ts';
import { LockViewError } from '../locks/errors.ts';
import { isDatabaseUrl, openLockView } from '../locks/index.ts';
import { type LockHistory, lockHistory, type SeenWait } from '../locks/lock-history.ts';
import { beginningOf, endOf, summaryOf } from '../locks/lock-text.ts';
import type { LockView } from '../locks/lock-wait.ts';
import { exitCodes } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { BadArgumentsError } from './arguments.ts';
import type { Terminal } from './terminal.ts';

export interface LocksCommand {
  /** The URL of a database; absent: that of the cluster that runs. */
  store: string | undefined;
  /** The throw-away directory of one of several clusters. */
  cluster: string | undefined;
  /** Between two looks, in milliseconds. */
  every: number;
  /** For how long, in seconds; absent: until `signal` or until the database has gone. */
  for: number | undefined;
  /** One JSON object a line instead of text. */
  json: boolean;
}

/** A database named by its URL, for `--store`. @throws BadArgumentsError */
export function parseDatabaseUrl(text: string): string {
  if (isDatabaseUrl(text)) return text;
  throw new BadArgumentsError(
    `--store must be a postgres:// or mysql:// URL, got "${withoutCredentials(text)}"`,
  );
}

/**
 * Prints who waits for whom in a database: each wait when it is first seen and when it has ended, and all of them at
 * the end. Ends when `signal` is aborted, when the time is over, and with the cluster or its database.
 *
 * @returns the exit code 0
 * @throws BadArgumentsError  No cluster runs, or several do and none was chosen.
 * @throws LockViewError      The locks cannot be seen.
 */
export async function locksCommand(
  command: LocksCommand,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const { databaseUrl, name, goesOn } = await chooseDatabase(command);
  const print = command.json ? jsonPrinter(terminal) : textPrinter(terminal);
  const limit = command.for === undefined ? [] : [AbortSignal.timeout(command.for * 1000)];
  const stop = AbortSignal.any([signal, ...limit]);
  const history = lockHistory();
  let view: LockView | undefined = await openLockView(databaseUrl);
  print.note(`Watching the locks of ${name} (${view.product}). Ctrl-C ends it.`);
  while (view !== undefined && goesOn() && !stop.aborted) {
    try {
      const { begun, ended } = history.add(await view.sample(), performance.now());
      for (const wait of begun) print.begun(wait);
      for (const wait of ended) print.ended(wait);
    } catch (error) {
      if (!(error instanceof LockViewError)) throw error;
      if (error.code === 'LOST') view = await openAgain(databaseUrl);
      else if (error.code !== 'SLOW') throw error;
      print.note(view === undefined ? 'The database has gone.' : error.message);
    }
    await sleep(command.every, undefined, { signal: stop }).catch(() => undefined);
  }
  await view?.close();
  for (const wait of history.add([], performance.now()).ended) print.ended(wait);
  print.summary(history);
  return exitCodes.asExpected;
}

/** Undefined when there is no database any more: a connection is also lost when somebody ends it. */
async function openAgain(databaseUrl: string): Promise<LockView | undefined> {
  try {
    return await openLockView(databaseUrl);
  } catch (error) {
    if (error instanceof LockViewError && (error.code === 'UNREACHABLE' || error.code === 'LOST'))
      return undefined;
    throw error;
  }
}

interface Watched {
  databaseUrl: string;
  /** Without credentials. */
  name: string;
  /** Whether it is still there, as far as is known without asking the database. */
  goesOn(): boolean;
}

async function chooseDatabase({ store, cluster: wanted }: LocksCommand): Promise<Watched> {
  if (store !== undefined && wanted !== undefined) {
    throw new BadArgumentsError('--store and --cluster each name a database: give one of them');
  }
  if (store !== undefined) {
    return { databaseUrl: store, name: withoutCredentials(store), goesOn: () => true };
  }
  const running = await findRunningClusters();
  const found = wanted === undefined ? running : running.filter((one) => isCalled(one, wanted));
  const [cluster, ...others] = found;
  if (cluster === undefined) {
    const what = wanted === undefined ? 'no cluster runs' : `no cluster runs in ${wanted}`;
    throw new BadArgumentsError(
      `${what}: start one with "npm start" or "npm run race", or name a database with --store`,
    );
  }
  if (others.length > 0) {
    const list = found.map((one) => `  --cluster ${basename(one.directory)}  (${describe(one)})`);
    throw new BadArgumentsError(`${found.length} clusters run; choose one:\n${list.join('\n')}`);
  }
  const { databaseUrl, directory, labPid } = cluster;
  return { databaseUrl, name: `${basename(directory)}, ${describe(cluster)}`, goesOn: () => isAlive(labPid) };
}

function isCalled({ directory }: RunningCluster, wanted: string): boolean {
  return directory === wanted || basename(directory) === wanted;
}

function describe({ store, startedAt, labPid }: RunningCluster): string {
  return `store ${store}, started ${startedAt.toISOString()} by process ${labPid}`;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Printer {
  note(text: string): void;
  begun(seen: SeenWait): void;
  ended(seen: SeenWait): void;
  summary(history: LockHistory): void;
}

function textPrinter(terminal: Terminal): Printer {
  const time = () => new Date().toISOString().slice(11, 23);
  return {
    note: (text) => terminal.print(text),
    begun: ({ wait }) => terminal.print(`${time()} ${beginningOf(wait).join('\n')}`),
    ended: (seen) => terminal.print(`${time()} ${endOf(seen)}`),
    summary: (history) => terminal.print(...summaryOf(history)),
  };
}

/** One object a line. `event` says what it is; `lastedMs` is at least how long the wait was. */
function jsonPrinter(terminal: Terminal): Printer {
  const line = (event: string, content: object) =>
    terminal.print(JSON.stringify({ event, at: new Date().toISOString(), ...content }));
  return {
    note: (text) => line('note', { text }),
    begun: ({ wait }) => line('waits', wait),
    ended: ({ wait, lastedMs }) => line('waited', { ...wait, lastedMs }),
    summary: ({ samples, mostAtOnce, all }) => {
      const seen = all();
      line('summary', { samples, seen: seen.length, mostAtOnce, longestMs: seen[0]?.lastedMs ?? null });
    },
  };
}
