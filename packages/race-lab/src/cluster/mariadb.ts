import { randomBytes } from 'node:crypto';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withDatabase } from './database-session.ts';
import { ClusterSetupError } from './errors.ts';
import { besideServer, type Found, type ServerPackage } from './find-server.ts';
import type { Guardian } from './guardian.ts';
import type { SpawnRequest } from './guardian-messages.ts';
import { hostEnv } from './host-env.ts';
import { MAX_CONNECTIONS } from './max-connections.ts';
import { fixedPort, freePort } from './ports.ts';
import { type RunningServer, runCommand, type ServerPlan, startServer } from './start-server.ts';
import { unprivilegedUser } from './unprivileged-user.ts';

const INSTALL_DB = 'mariadb-install-db';

/**
 * Without `mysqld`: that name may be a MySQL, whose data directory is made in another way (`--initialize-insecure`).
 * A MySQL is used by its URL.
 */
export const mariadbPackage: ServerPackage = {
  programs: ['mariadbd'],
  alongside: [INSTALL_DB, 'my_print_defaults'],
  // Of these no installation starts a service, as that of mariadb-server does; the second has my_print_defaults.
  debian: ['mariadb-server-core', 'mariadb-client-core'],
  homebrew: 'mariadb',
};

const START_LIMIT_MS = 60_000;
const INSTALL_LIMIT_MS = 60_000;
const CONNECT_LIMIT_MS = 2_000;

export interface MariadbOptions {
  /** The path of `mariadbd`. */
  program: string;
  /** Names its folder and its process; unique in the lab. Absent: `mariadb`. */
  name?: string;
  /**
   * Whether REPEATABLE READ answers error 1020 to a change of a row that its snapshot does not show as it is by now
   * (`innodb_snapshot_isolation`). The default of MariaDB is on since 11.6.2, and off before, as it is here.
   */
  snapshotIsolation?: boolean;
  signal: AbortSignal;
}

/** A private MariaDB. */
export interface Mariadb extends RunningServer {
  /** With its password, on the empty database `lab`; its user may do everything. */
  url: string;
  /** Starts it when it has ended, however that was: with its data, on its port. @throws as startServer does */
  startAgain(): Promise<RunningServer>;
}

/**
 * The program of a MariaDB that was looked for.
 *
 * @throws ClusterSetupError  MARIADB_MISSING: it is not installed, or only a part of it.
 */
export function installedMariadb(found: Found): string {
  if (found.found) return found.path;
  throw new ClusterSetupError(
    'MARIADB_MISSING',
    `MariaDB is not installed; run "${found.install}", or name a server of your own with --store mysql://…`,
  );
}

/**
 * Starts a private MariaDB with durable settings, on TCP of 127.0.0.1 only, with a random password.
 *
 * It reads no option file and has no socket in the file system. As root, which it refuses, it runs as `nobody`.
 *
 * @throws as startServer does, and ClusterSetupError: MARIADB_MISSING, NO_UNPRIVILEGED_USER.
 */
export async function startMariadb(guardian: Guardian, options: MariadbOptions): Promise<Mariadb> {
  const { program, name = 'mariadb', snapshotIsolation = false, signal } = options;
  const installDb = await besideServer(program, INSTALL_DB);
  if (installDb === undefined) {
    throw new ClusterSetupError('MARIADB_MISSING', `${program} was installed without its ${INSTALL_DB}`);
  }
  const user = await unprivilegedUser();
  const folder = join(guardian.directory, name);
  const logFolder = join(guardian.directory, `${name}-log`);
  const temporary = join(folder, 'tmp');
  const initFile = join(folder, 'init.sql');
  const password = randomBytes(24).toString('hex');
  await mkdir(logFolder, { mode: 0o700 });
  await mkdir(folder, { mode: 0o700 });
  await mkdir(temporary, { mode: 0o700 });
  // In a private file, because everybody may read the arguments of a process.
  await writeFile(initFile, initStatements(password), { mode: 0o600 });
  if (user !== undefined) {
    for (const path of [folder, temporary, initFile]) await chown(path, user.uid, user.gid);
  }

  const request = (what: string, command: string, args: readonly string[]): SpawnRequest => ({
    name: what,
    command,
    // First, or it is not understood.
    args: ['--no-defaults', ...args],
    // No MYSQL_* or MARIADB_* variable of the caller gets through.
    env: { ...hostEnv(), LC_ALL: 'C', TZ: 'UTC' },
    cwd: folder,
    logFile: join(logFolder, `${what}.log`),
    stopSignal: 'SIGTERM',
    ...(user === undefined ? {} : { runAs: { uid: user.uid, gid: user.gid } }),
  });
  const shared = optionArguments({
    datadir: join(folder, 'data'),
    // Not TMPDIR, which need not be open to `nobody`.
    tmpdir: temporary,
    innodb_buffer_pool_size: '64M',
    innodb_log_file_size: '64M',
  });
  // `--force` spares it the search for the machine's name, which no account here has as its host.
  const installArguments = ['--force', '--skip-test-db', ...shared];
  const install = request(`${name}-install-db`, installDb, installArguments);
  await runCommand(guardian, install, INSTALL_LIMIT_MS, signal);

  const urlOn = (port: number) => `mysql://lab:${password}@127.0.0.1:${port}/lab`;
  const settings = {
    bind_address: '127.0.0.1',
    socket: '',
    pid_file: join(folder, 'server.pid'),
    init_file: initFile,
    max_connections: String(MAX_CONNECTIONS),
    character_set_server: 'utf8mb4',
    innodb_flush_log_at_trx_commit: '1',
    innodb_doublewrite: 'ON',
    // The binary log is off, as MariaDB comes: nobody replicates from here, and a commit is durable by the redo log
    // alone. Should a version turn it on by itself, it is synced too.
    sync_binlog: '1',
    // Loose, because versions before 10.6.18 do not know it.
    loose_innodb_snapshot_isolation: snapshotIsolation ? 'ON' : 'OFF',
  };
  const plan: ServerPlan = {
    port: freePort,
    startLimitMs: START_LIMIT_MS,
    command: (port) =>
      request(name, program, [
        ...shared,
        ...optionArguments({ ...settings, port: String(port) }),
        '--skip-name-resolve',
      ]),
    // Its user is there before it listens.
    probe: (port) => withDatabase(urlOn(port), CONNECT_LIMIT_MS, async () => undefined),
  };
  const server = await startServer(guardian, plan, signal);
  // Emptied and not removed: a server that is started again looks for it.
  await writeFile(initFile, '');
  const again = { ...plan, port: fixedPort(server.port, 'the server that has ended') };
  const startAgain = () => startServer(guardian, again, signal);
  return { ...server, url: urlOn(server.port), startAgain };
}

function optionArguments(options: Readonly<Record<string, string>>): string[] {
  return Object.entries(options).map(([option, value]) => `--${option}=${value}`);
}

/** One statement a line, as an init file wants it. */
function initStatements(password: string): string {
  return [
    'CREATE DATABASE IF NOT EXISTS lab;',
    `CREATE USER IF NOT EXISTS lab@127.0.0.1 IDENTIFIED BY '${password}';`,
    'GRANT ALL PRIVILEGES ON *.* TO lab@127.0.0.1 WITH GRANT OPTION;',
    '',
  ].join('\n');
}
