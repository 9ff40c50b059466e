import { chmodSync, globSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { type Query, withDatabase } from '../../src/cluster/database-session.ts';
import { serverFinder } from '../../src/cluster/find-server.ts';
import type { Guardian } from '../../src/cluster/guardian.ts';
import {
  installedMariadb,
  type Mariadb,
  type MariadbOptions,
  mariadbPackage,
  startMariadb,
} from '../../src/cluster/mariadb.ts';
import { never, read, remainsOf, testGuardian, uidOf } from './helpers.ts';

const LIMIT_MS = 10_000;
const asRoot = process.getuid?.() === 0;
const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));

function start(guardian: Guardian, options: Partial<MariadbOptions> = {}): Promise<Mariadb> {
  return startMariadb(guardian, { program, signal: never, ...options });
}

async function variables(url: string, ...names: string[]): Promise<Record<string, unknown>> {
  const list = names.map((name) => `'${name}'`).join(', ');
  const rows = await withDatabase(url, LIMIT_MS, (query) =>
    query(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${list})`),
  );
  return Object.fromEntries(rows.map(({ Variable_name, Value }) => [Variable_name, Value]));
}

/** The same URL for somebody else. */
function as(url: string, username: string, password: string): string {
  return Object.assign(new URL(url), { username, password }).href;
}

function isOpen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

test('MariaDB is durable, and keeps text as UTF-8', async () => {
  const { guardian } = await testGuardian();
  const { url } = await start(guardian);
  const expected = {
    innodb_flush_log_at_trx_commit: '1',
    innodb_doublewrite: 'ON',
    sync_binlog: '1',
    log_bin: 'OFF',
    character_set_server: 'utf8mb4',
    max_connections: '200',
    skip_name_resolve: 'ON',
  };
  expect(await variables(url, ...Object.keys(expected))).toEqual(expected);
});

test('MariaDB takes only its password, on TCP of the loopback only', async () => {
  const { guardian, tmp } = await testGuardian();
  const { url, port } = await start(guardian);
  const login = (username: string, password: string) =>
    withDatabase(as(url, username, password), LIMIT_MS, (query) => query('SELECT 1'));
  await expect(login('lab', 'guessed')).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
  await expect(login('lab', '')).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
  await expect(login('nobody', '')).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });
  await expect(login('root', '')).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR' });
  // Root could come in through a socket in the file system only, and there is none.
  expect(await variables(url, 'socket')).toEqual({ socket: '' });
  const sockets = globSync('**', { cwd: tmp }).filter((file) => statSync(join(tmp, file)).isSocket());
  expect(sockets).toEqual([]);
  expect(await isOpen(port, '127.0.0.1')).toBe(true);
  if (process.platform === 'linux') expect(await isOpen(port, '127.0.0.2')).toBe(false);
});

test('MariaDB shows its password to nobody, and its user may make databases', async () => {
  const { guardian, tmp } = await testGuardian();
  const { url, pid } = await start(guardian);
  const { password } = new URL(url);
  expect(read(`/proc/${pid}/cmdline`) + read(`/proc/${pid}/environ`)).not.toContain(password);
  const files = globSync('**', { cwd: tmp, withFileTypes: true }).filter((entry) => entry.isFile());
  const telling = files.filter(({ parentPath, name }) => read(join(parentPath, name)).includes(password));
  expect(files.length).toBeGreaterThan(50);
  expect(telling).toEqual([]);
  await withDatabase(url, LIMIT_MS, (query) => query('CREATE DATABASE another'));
});

test('MariaDB reads no option file and no variable of the machine', async () => {
  const { guardian, tmp } = await testGuardian();
  const home = join(tmp, 'home');
  mkdirSync(home, { mode: 0o755 });
  // Read by the installation alone, the second would keep the server from starting.
  const poison = '[server]\nlock_wait_timeout=77\ninnodb_page_size=8192\n';
  for (const name of ['.my.cnf', 'my.cnf']) writeFileSync(join(home, name), poison, { mode: 0o644 });
  for (const name of ['HOME', 'MYSQL_HOME', 'MARIADB_HOME']) vi.stubEnv(name, home);
  vi.stubEnv('MYSQL_TCP_PORT', '1');
  vi.stubEnv('MYSQL_UNIX_PORT', join(home, 'socket'));
  vi.stubEnv('MYSQLD_BOOTSTRAP', '/bin/false');
  const { url } = await start(guardian);
  expect(await variables(url, 'lock_wait_timeout', 'innodb_page_size')).toEqual({
    lock_wait_timeout: '86400',
    innodb_page_size: '16384',
  });
});

test.skipIf(!asRoot)('MariaDB of root runs as nobody (skipped where the tests are not root)', async () => {
  const { guardian, tmp } = await testGuardian();
  // As root's own may be: nobody gets through it to what is his, and may make nothing in it.
  chmodSync(tmp, 0o711);
  const { pid } = await start(guardian);
  expect(uidOf(pid)).toBe(65_534);
  expect(guardian.processes().map(({ name }) => name)).toEqual(['mariadb']);
});

test('MariaDB ends in order when it is asked to, and leaves nothing when it was killed', async () => {
  const { guardian, tmp } = await testGuardian();
  const asked = await start(guardian, { name: 'asked' });
  const killed = await start(guardian, { name: 'killed' });
  expect(await asked.stop()).toEqual({ code: 0, signal: null });
  expect(readFileSync(asked.logFile, 'utf8')).toMatch(/Shutdown complete\n$/);
  await killed.signal('SIGKILL');
  await killed.exited;
  expect(await guardian.end()).toEqual([]);
  expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
});

/** Sells one of ten in a transaction whose snapshot is older than a sale that was committed meanwhile. */
async function sellFromAnOldSnapshot(url: string): Promise<{ code: unknown; left: unknown }> {
  const onTransaction = (work: (query: Query) => Promise<unknown>) =>
    withDatabase(url, LIMIT_MS, async (query) => {
      await query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
      await query('BEGIN');
      return work(query);
    });
  await withDatabase(url, LIMIT_MS, async (query) => {
    await query('CREATE TABLE stock (left_over INT NOT NULL)');
    await query('INSERT INTO stock VALUES (10)');
  });
  const code = await onTransaction(async (query) => {
    await query('SELECT left_over FROM stock');
    await onTransaction(async (other) => {
      await other('UPDATE stock SET left_over = 9');
      await other('COMMIT');
    });
    await query('UPDATE stock SET left_over = 9');
    await query('COMMIT');
  }).then(
    () => undefined,
    (error: { errno?: unknown }) => error.errno,
  );
  const [row] = await withDatabase(url, LIMIT_MS, (query) => query('SELECT left_over FROM stock'));
  return { code, left: row?.left_over };
}

test.for([
  ['without', false, { code: undefined, left: 9 }],
  ['with', true, { code: 1020, left: 9 }],
] as const)(
  '%s snapshot isolation, an update by what an old snapshot showed: one is lost, or refused',
  async ([, snapshotIsolation, seen]) => {
    const { guardian } = await testGuardian();
    const { url } = await start(guardian, { snapshotIsolation });
    expect(await sellFromAnOldSnapshot(url)).toEqual(seen);
  },
);

test('MariaDB of which only the server is there is a named error', async () => {
  const { guardian, tmp } = await testGuardian();
  mkdirSync(join(tmp, 'sbin'));
  writeFileSync(join(tmp, 'sbin/mariadbd'), '', { mode: 0o755 });
  await expect(start(guardian, { program: join(tmp, 'sbin/mariadbd') })).rejects.toMatchObject({
    name: 'ClusterSetupError',
    code: 'MARIADB_MISSING',
  });
});

test('an installation that fails shows why, also when it has more to say', async () => {
  const { guardian, tmp } = await testGuardian();
  const script = '#!/bin/sh\necho no space >&2\nfor line in $(seq 30); do echo advice $line; done\nexit 1\n';
  writeFileSync(join(tmp, 'mariadb-install-db'), script, { mode: 0o755 });
  writeFileSync(join(tmp, 'mariadbd'), '', { mode: 0o755 });
  await expect(start(guardian, { program: join(tmp, 'mariadbd') })).rejects.toMatchObject({
    code: 'SERVER_ENDED',
    server: 'mariadb-install-db',
    logTail: expect.stringMatching(/^no space\n/),
  });
});

test('MariaDB is found beside its programs through a link too', async () => {
  const { guardian, tmp } = await testGuardian();
  symlinkSync(program, join(tmp, 'mariadbd'));
  const { url } = await start(guardian, { program: join(tmp, 'mariadbd') });
  expect(url).toMatch(/^mysql:\/\/lab:[0-9a-f]{48}@127\.0\.0\.1:\d+\/lab$/);
});
