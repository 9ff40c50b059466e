import { lstat, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withoutCredentials } from '../report/store-name.ts';
import type { Guardian } from './guardian.ts';
import { GUARDIAN_TITLE, THROW_AWAY_PREFIX } from './guardian-messages.ts';
import { commandOf } from './process-tree.ts';
import type { Store } from './store.ts';

/** A cluster whose database is up. */
export interface RunningCluster {
  /** Its throw-away directory, absolute. */
  directory: string;
  /** As it was asked for, without the credentials of a URL. */
  store: string;
  /** With its credentials: never to be printed. */
  databaseUrl: string;
  startedAt: Date;
  /** The process that started it. */
  labPid: number;
}

/** What a cluster writes about itself. */
interface Notice {
  labPid: number;
  guardianPid: number;
  startedAt: string;
  store: string;
  databaseUrl: string;
}

const NOTICE = 'cluster.json';

/** Lets other processes of this user find the cluster. It is forgotten with the guardian's directory. */
export async function announceCluster(guardian: Guardian, store: Store, databaseUrl: string): Promise<void> {
  const notice: Notice = {
    labPid: process.pid,
    guardianPid: guardian.pid,
    startedAt: new Date().toISOString(),
    store: withoutCredentials(store),
    databaseUrl,
  };
  const unfinished = join(guardian.directory, `${NOTICE}.tmp`);
  await writeFile(unfinished, JSON.stringify(notice), { mode: 0o600 });
  // Whole or not at all, because somebody may be looking.
  await rename(unfinished, join(guardian.directory, NOTICE));
}

/**
 * The clusters of this user that run now, in order of start.
 *
 * Their labs may be ending them at this moment, so a database may be gone when the caller connects.
 */
export async function findRunningClusters(): Promise<RunningCluster[]> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(THROW_AWAY_PREFIX));
  const found = await Promise.all(names.map((name) => runningClusterIn(join(tmpdir(), name))));
  return found
    .filter((cluster) => cluster !== undefined)
    .sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime());
}

async function runningClusterIn(directory: string): Promise<RunningCluster | undefined> {
  const notice = await readNotice(directory);
  if (notice === undefined || !isGuardian(notice.guardianPid)) return undefined;
  const { store, databaseUrl, startedAt, labPid } = notice;
  return { directory, store, databaseUrl, startedAt: new Date(startedAt), labPid };
}

async function readNotice(directory: string): Promise<Notice | undefined> {
  try {
    // Anybody may put a directory there, with the URL of a database of his own in it.
    if ((await lstat(directory)).uid !== process.getuid?.()) return undefined;
    return JSON.parse(await readFile(join(directory, NOTICE), 'utf8')) as Notice;
  } catch (error) {
    // No cluster yet, or none any more.
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** A lab that was killed together with its guardian leaves its directory, and their pids are given to others. */
function isGuardian(pid: number): boolean {
  return commandOf(pid).includes(GUARDIAN_TITLE);
}
