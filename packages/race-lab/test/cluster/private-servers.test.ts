import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { type ServerPackage, serverFinder } from '../../src/cluster/find-server.ts';
import type { Guardian } from '../../src/cluster/guardian.ts';
import { mariadbPackage } from '../../src/cluster/mariadb.ts';
import { nginxPackage, startNginx } from '../../src/cluster/nginx.ts';
import { type NodeService, startNodeService } from '../../src/cluster/node-service.ts';
import { freePort } from '../../src/cluster/ports.ts';
import { embeddedPostgresFolder, startPostgres } from '../../src/cluster/postgres.ts';
import { redisPackage, startRedis } from '../../src/cluster/redis.ts';
import { never, read, remainsOf, STAND_IN, temporaryDirectory, testGuardian, uidOf } from './helpers.ts';

const find = serverFinder(process.env.PATH ?? '');
const nginx = await find(nginxPackage);
const redis = await find(redisPackage);
const asRoot = process.getuid?.() === 0;

async function queryOne(url: string, sql: string): Promise<Record<string, unknown>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return rows[0] ?? {};
  } finally {
    await client.end();
  }
}

test('PostgreSQL is durable, in UTF-8, and takes only its password on the loopback', async () => {
  const { guardian } = await testGuardian();
  const server = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never });
  const settings = await queryOne(
    server.url,
    `SELECT ${[
      'fsync',
      'synchronous_commit',
      'full_page_writes',
      'max_connections',
      'listen_addresses',
      'unix_socket_directories',
      'server_encoding',
    ].map((name) => `current_setting('${name}') AS ${name}`)},
      (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS collation`,
  );
  expect(settings).toEqual({
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    max_connections: '200',
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    server_encoding: 'UTF8',
    collation: 'C',
  });
  const withoutPassword = new URL(server.url);
  withoutPassword.password = 'guessed';
  await expect(queryOne(withoutPassword.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
});

test.skipIf(!asRoot)(
  'PostgreSQL of root runs as nobody (skipped where the tests do not run as root)',
  async () => {
    const { guardian } = await testGuardian();
    const server = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never });
    expect(uidOf(server.pid)).toBe(65_534);
    expect(guardian.processes().map(({ name }) => name)).toEqual(['postgres']);
  },
);

test.skipIf(!asRoot)('PostgreSQL starts from a home that nobody may not enter (root only)', async () => {
  const { guardian, tmp } = await testGuardian();
  const home = mkdtempSync(join(tmpdir(), 'home-'));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  const nativeFolder = join(home, 'native');
  cpSync(embeddedPostgresFolder(), nativeFolder, { recursive: true, verbatimSymlinks: true });
  expect(statSync(home).mode & 0o777).toBe(0o700);
  const server = await startPostgres(guardian, { nativeFolder, signal: never });
  expect(uidOf(server.pid)).toBe(65_534);
  expect(read(`/proc/${server.pid}/maps`)).toContain(`${guardian.directory}/postgres-native/lib/`);
  await guardian.end();
  rmSync(home, { recursive: true });
  expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
});

test('PostgreSQL that does not run here is a named error', async () => {
  const { guardian, tmp } = await testGuardian();
  mkdirSync(join(tmp, 'native/bin'), { recursive: true });
  writeFileSync(join(tmp, 'native/bin/postgres'), '#!/bin/sh\necho no library >&2\nexit 127\n');
  chmodSync(join(tmp, 'native/bin/postgres'), 0o755);
  await expect(
    startPostgres(guardian, { nativeFolder: join(tmp, 'native'), signal: never }),
  ).rejects.toMatchObject({
    name: 'ClusterSetupError',
    code: 'POSTGRES_NOT_RUNNABLE',
    message: expect.stringContaining('no library'),
  });
});

test('a postmaster that was killed leaves no shared memory', async () => {
  const { guardian, tmp } = await testGuardian();
  const server = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never });
  const pidFile = readFileSync(join(guardian.directory, 'postgres/data/postmaster.pid'), 'utf8');
  const id = pidFile.split('\n')[6]?.trim().split(/\s+/)[1] ?? '';
  const segments = () =>
    read('/proc/sysvipc/shm')
      .split('\n')
      .map((line) => line.trim().split(/\s+/)[1]);
  expect(segments()).toContain(id);
  await server.signal('SIGKILL');
  await server.exited;
  expect(await guardian.end()).toEqual([]);
  expect(segments()).not.toContain(id);
  expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
});

test.skipIf(!redis.found)('Redis wants its password and syncs its log (skipped without Redis)', async () => {
  const { guardian } = await testGuardian();
  if (!redis.found) return;
  const server = await startRedis(guardian, redis.path, never);
  const { password } = new URL(server.url);
  const ask = async (...commands: string[]) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.end(commands.map((command) => `${command}\r\n`).join(''));
    return (await socket.setEncoding('utf8').toArray()).join('');
  };
  expect(await ask('PING')).toMatch(/^-NOAUTH/);
  const answer = await ask(`AUTH ${password}`, 'CONFIG GET append*', 'CONFIG GET dir');
  expect(answer.split('\r\n')).toEqual(
    expect.arrayContaining([
      'appendonly',
      'yes',
      'appendfsync',
      'everysec',
      join(guardian.directory, 'redis'),
    ]),
  );
  expect(read(`/proc/${server.pid}/cmdline`)).not.toContain(password);
  expect(statSync(join(guardian.directory, 'redis/redis.conf')).mode & 0o777).toBe(0o600);
});

async function fourStandIns(guardian: Guardian): Promise<NodeService[]> {
  const names = ['lotto-back-1', 'lotto-back-2', 'lotto-back-3', 'lotto-back-4'];
  return Promise.all(
    names.map((name) =>
      startNodeService(guardian, {
        name,
        main: STAND_IN,
        env: { SERVER_NAME: name },
        port: freePort,
        signal: never,
      }),
    ),
  );
}

test.skipIf(!nginx.found)(
  'nginx hands 20 requests strictly in turn to four (skipped without nginx)',
  async () => {
    const { guardian } = await testGuardian();
    if (!nginx.found) return;
    const instances = await fourStandIns(guardian);
    const upstreamPorts = instances.map(({ port }) => port);
    const door = await startNginx(guardian, {
      program: nginx.path,
      upstreamPorts,
      port: freePort,
      signal: never,
    });
    const answered: unknown[] = [];
    for (let ping = 0; ping < 20; ping++) {
      const answer = (await (await fetch(`${door.baseUrl}/ping`)).json()) as { data: unknown };
      answered.push(answer.data);
    }
    expect(answered).toEqual(Array.from({ length: 20 }, (_, ping) => `lotto-back-${(ping % 4) + 1}`));
  },
);

test.skipIf(!nginx.found)(
  'nginx keeps its connections to the instances, strictly in turn all the same',
  async () => {
    const { guardian } = await testGuardian();
    if (!nginx.found) return;
    const opened = [0, 0];
    const answered: number[] = [];
    const instances = opened.map((_, index) => {
      const server = createServer((_request, response) => {
        answered.push(index);
        response.end('here');
      });
      server.on('connection', () => {
        opened[index] = (opened[index] ?? 0) + 1;
      });
      onTestFinished(async () => {
        server.closeAllConnections();
        server.close();
      });
      return server;
    });
    for (const server of instances) await once(server.listen(0, '127.0.0.1'), 'listening');
    const door = await startNginx(guardian, {
      program: nginx.path,
      upstreamPorts: instances.map((server) => (server.address() as AddressInfo).port),
      port: freePort,
      signal: never,
    });
    for (let turn = 0; turn < 20; turn++) {
      // With a client's connection of its own each: those of nginx are kept whatever its clients do.
      const answer = await fetch(`${door.baseUrl}/`, { method: 'POST', headers: { connection: 'close' } });
      expect(await answer.text()).toBe('here');
    }
    expect(answered).toEqual(Array.from({ length: 20 }, (_, turn) => turn % 2));
    expect(opened).toEqual([1, 1]);
  },
);

test.skipIf(!nginx.found)('nginx passes the published headers on, and bodies of 4 MB', async () => {
  const { guardian } = await testGuardian();
  if (!nginx.found) return;
  const upstreamPorts = (await fourStandIns(guardian)).map(({ port }) => port);
  const door = await startNginx(guardian, {
    program: nginx.path,
    upstreamPorts,
    port: freePort,
    signal: never,
  });
  const post = (bytes: number) =>
    new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const sent = request(`${door.baseUrl}/headers`, { method: 'POST', headers: { host: 'lotto.example' } });
      sent.once('error', reject);
      sent.once('response', (response) => {
        void response
          .setEncoding('utf8')
          .toArray()
          .then((parts) => resolve({ status: response.statusCode, text: parts.join('') }));
      });
      sent.end(Buffer.alloc(bytes));
    });
  const { status, text } = await post(4 * 1024 * 1024);
  expect(status).toBe(200);
  expect(JSON.parse(text).data).toMatchObject({ host: 'lotto.example', 'x-real-ip': '127.0.0.1' });
  expect((await post(4 * 1024 * 1024 + 1)).status).toBe(413);
  // All that it wrote is in its own folder; nothing under /var was opened.
  const open = guardian.processes().find(({ name }) => name === 'nginx')?.logFile ?? '';
  expect(readFileSync(open, 'utf8')).not.toMatch(/\[(emerg|alert|crit)\]|\/var\//);
});

test('a missing server is reported with the command that installs it', async () => {
  const nowhere = serverFinder('', []);
  const answers = await Promise.all(
    [redisPackage, nginxPackage, mariadbPackage].map((it: ServerPackage) => nowhere(it)),
  );
  const command = process.platform === 'darwin' ? 'brew install' : 'sudo apt-get install';
  const packages =
    process.platform === 'darwin'
      ? ['redis', 'nginx', 'mariadb']
      : ['redis-server', 'nginx', 'mariadb-server-core mariadb-client-core'];
  expect(answers).toEqual(packages.map((name) => ({ found: false, install: `${command} ${name}` })));
});

test('servers are found in the order of their names, and only what can be run counts', async () => {
  const tmp = temporaryDirectory();
  const place = (name: string, mode: number) => {
    writeFileSync(join(tmp, name), '');
    chmodSync(join(tmp, name), mode);
  };
  place('valkey-server', 0o755);
  place('redis-server', 0o644);
  expect(await serverFinder(`relative:${tmp}`, [])(redisPackage)).toEqual({
    found: true,
    path: join(tmp, 'valkey-server'),
  });
  place('redis-server', 0o755);
  expect(await serverFinder('', [tmp])(redisPackage)).toEqual({
    found: true,
    path: join(tmp, 'redis-server'),
  });
});

test('a server without the programs that it needs beside it counts as missing', async () => {
  const tmp = temporaryDirectory();
  const place = (name: string) => {
    mkdirSync(join(tmp, name, '..'), { recursive: true });
    writeFileSync(join(tmp, name), '', { mode: 0o755 });
  };
  const find = () => serverFinder('', [join(tmp, 'sbin')])(mariadbPackage);
  place('sbin/mariadbd');
  place('bin/mariadb-install-db');
  expect(await find()).toMatchObject({ found: false });
  place('bin/my_print_defaults');
  expect(await find()).toEqual({ found: true, path: join(tmp, 'sbin/mariadbd') });
});
