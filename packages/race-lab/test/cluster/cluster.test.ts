import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type Cluster, type ClusterOptions, startCluster } from '../../src/cluster/cluster.ts';
import { withDatabase } from '../../src/cluster/database-session.ts';
import { serverFinder } from '../../src/cluster/find-server.ts';
import type { Guardian } from '../../src/cluster/guardian.ts';
import { installedMariadb, type Mariadb, mariadbPackage, startMariadb } from '../../src/cluster/mariadb.ts';
import { nginxPackage } from '../../src/cluster/nginx.ts';
import { freePort } from '../../src/cluster/ports.ts';
import { embeddedPostgresFolder, type Postgres, startPostgres } from '../../src/cluster/postgres.ts';
import { redisPackage } from '../../src/cluster/redis.ts';
import { STORE_FORMS, type Store } from '../../src/cluster/store.ts';
import { withDatabaseName, withSearchPath } from '../../src/cluster/throw-away-schema.ts';
import { watchingServers } from '../../src/experiments/server-watch.ts';
import {
  freeRange,
  labSchemas,
  never,
  nothing,
  remainsOf,
  STAND_IN,
  temporaryDirectory,
  testGuardian,
  until,
} from './helpers.ts';

const LIMIT_MS = 10_000;
const mariadb = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
const redis = await serverFinder(process.env.PATH ?? '')(redisPackage);
const asRoot = process.getuid?.() === 0;
const CLEAN = { files: [], processes: [] };
const options: ClusterOptions = {
  instances: 2,
  store: 'postgres',
  gateway: 'as-published',
  seed: 42,
  mains: { shop: STAND_IN, sandbox: STAND_IN },
};

async function testCluster(overrides: Partial<ClusterOptions> = {}): Promise<Cluster> {
  const cluster = await startCluster({ ...options, ...overrides });
  onTestFinished(() => cluster.close());
  return cluster;
}

async function envOf(baseUrl: string): Promise<Record<string, string>> {
  const { data } = (await (await fetch(`${baseUrl}/env`)).json()) as { data: Record<string, string> };
  return data;
}

type Given = Postgres | Mariadb;

/** How each store is given, and what the lab makes of its URL. */
const givenStores = {
  postgres: {
    start: (guardian: Guardian): Promise<Given> =>
      startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never }),
    noun: 'schema',
    urlIn: withSearchPath,
  },
  mariadb: {
    start: (guardian: Guardian): Promise<Given> =>
      startMariadb(guardian, { program: mariadb, signal: never }),
    noun: 'database',
    urlIn: withDatabaseName,
  },
};

async function startGiven(store: keyof typeof givenStores): Promise<{ given: Given; tmp: string }> {
  const { guardian, tmp } = await testGuardian();
  return { given: await givenStores[store].start(guardian), tmp };
}

test('every part is up with its settings, and a closed cluster leaves no process and no directory', async () => {
  const tmp = temporaryDirectory();
  const progress: string[] = [];
  const cluster = await testCluster({
    shopEnv: { PURCHASE_STRATEGY: 'unique-claim', COUPON_STRATEGY: 'mutex' },
    sandboxEnv: { FAULTS: 'none' },
    onProgress: (text) => progress.push(text),
  });
  const { sandbox, instances, databaseUrl, redisUrl } = cluster;
  expect(instances.map(({ name }) => name)).toEqual(['lotto-back-1', 'lotto-back-2']);
  expect(await envOf(instances[1]?.baseUrl ?? '')).toMatchObject({
    SERVER_NAME: 'lotto-back-2',
    HOST: '127.0.0.1',
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: '10',
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    PAYMENT_BASE_URL: sandbox.baseUrl,
    PAYMENT_SECRET_KEY: sandbox.secretKey,
    PURCHASE_STRATEGY: 'unique-claim',
    COUPON_STRATEGY: 'mutex',
    LAB_MODE: '1',
    LOG_LEVEL: 'warn',
  });
  expect(await envOf(sandbox.baseUrl)).toMatchObject({
    SECRET_KEY: sandbox.secretKey,
    LEDGER_FILE: sandbox.ledgerFile,
    MODE: 'as-published',
    SEED: '42',
    FAULTS: 'none',
  });
  for (const { name, pid } of instances) expect(cluster.servers.get(name)?.pid).toBe(pid);
  for (const name of cluster.servers.keys()) expect(progress.join('\n')).toContain(`${name} is up on port`);
  expect(remainsOf(tmp).processes.length).toBeGreaterThan(5);
  await Promise.all([cluster.close(), cluster.close()]);
  expect(remainsOf(tmp)).toEqual(CLEAN);
  await cluster.close();
});

test('without Redis and nginx the cluster does without, and says how to install them', async () => {
  const tmp = temporaryDirectory();
  const cluster = await testCluster({ findServer: serverFinder('', []) });
  expect(cluster.redisUrl).toBeUndefined();
  expect(await envOf(cluster.instances[0]?.baseUrl ?? '')).not.toHaveProperty('REDIS_URL');
  expect(cluster.frontDoor).toEqual({
    kind: 'rotate',
    urls: cluster.instances.map(({ baseUrl }) => baseUrl),
    note: cluster.notes[1],
  });
  expect(cluster.notes).toEqual([
    expect.stringMatching(/^Redis is not installed.*install redis/),
    expect.stringMatching(/^nginx is not installed.*install nginx/),
  ]);
  await cluster.close();
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('on MariaDB every part is up, and a closed cluster leaves nothing', async () => {
  const tmp = temporaryDirectory();
  const cluster = await testCluster({ store: 'mariadb' });
  expect(cluster.databaseUrl).toMatch(/^mysql:\/\/lab:[0-9a-f]{48}@127\.0\.0\.1:\d+\/lab$/);
  expect(await envOf(cluster.instances[0]?.baseUrl ?? '')).toMatchObject({
    DATABASE_URL: cluster.databaseUrl,
  });
  expect([...cluster.servers.keys()]).toContain('mariadb');
  expect([...cluster.servers.keys()]).not.toContain('postgres');
  await cluster.close();
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('without MariaDB it is refused with the command that installs it, and nothing is left', async () => {
  const tmp = temporaryDirectory();
  const starting = startCluster({ ...options, store: 'mariadb', findServer: serverFinder('', []) });
  await expect(starting).rejects.toMatchObject({
    name: 'ClusterSetupError',
    code: 'MARIADB_MISSING',
    message: expect.stringMatching(/install mariadb.*--store mysql:/),
  });
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test.for(['postgres', 'mariadb'] as const)(
  'a given database is used in a schema of its own, which is dropped at the end: %s',
  async (store) => {
    const { noun, urlIn } = givenStores[store];
    const { given, tmp } = await startGiven(store);
    const before = remainsOf(tmp);
    const progress: string[] = [];
    const cluster = await testCluster({
      store: given.url as Store,
      onProgress: (text) => progress.push(text),
    });
    const [schema = ''] = await labSchemas(given.url);
    expect(progress).toContain(`${noun} ${schema} is made`);
    expect(cluster.servers.has(store)).toBe(false);
    expect(cluster.databaseUrl).toBe(urlIn(given.url, schema));
    await withDatabase(cluster.databaseUrl, LIMIT_MS, (query) => query('CREATE TABLE orders (id int)'));
    const rows = await withDatabase(given.url, LIMIT_MS, (query) =>
      query(`SELECT table_schema AS place FROM information_schema.tables WHERE table_name = 'orders'`),
    );
    expect(rows).toEqual([{ place: schema }]);
    await cluster.close();
    expect(await labSchemas(given.url)).toEqual([]);
    expect(remainsOf(tmp).files).toEqual(before.files);
  },
);

test('a database of the lab is in UTF-8 whatever the server prefers, and mariadb:// is as good', async () => {
  const { given } = await startGiven('mariadb');
  await withDatabase(given.url, LIMIT_MS, (query) => query('SET GLOBAL character_set_server = latin1'));
  const cluster = await testCluster({ store: given.url.replace(/^mysql:/, 'mariadb:') as Store });
  expect(cluster.databaseUrl).toMatch(/^mysql:/);
  const rows = await withDatabase(cluster.databaseUrl, LIMIT_MS, (query) =>
    query('SELECT @@character_set_server AS preferred, @@character_set_database AS own'),
  );
  expect(rows).toEqual([{ preferred: 'latin1', own: 'utf8mb4' }]);
});

test.for(['postgres', 'mariadb'] as const)(
  'what cannot be dropped is reported, and the servers have ended all the same: %s',
  async (store) => {
    const { given, tmp } = await startGiven(store);
    const cluster = await startCluster({ ...options, store: given.url as Store });
    await given.stop();
    await expect(cluster.close()).rejects.toMatchObject({
      code: 'LEFT_BEHIND',
      problems: [
        expect.stringMatching(
          `^dropping ${givenStores[store].noun} race_lab_[0-9a-f]{12} failed: .*ECONNREFUSED`,
        ),
      ],
    });
    expect(remainsOf(tmp).files.length).toBe(1);
  },
);

test.for(['postgres', 'mysql'])(
  'a given database that does not answer is a named error without its password: %s',
  async (protocol) => {
    const tmp = temporaryDirectory();
    const place = `127.0.0.1:${await freePort.next()}/shop`;
    const starting = startCluster({ ...options, store: `${protocol}://me:secret@${place}` as Store });
    const error = await starting.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'ClusterSetupError', code: 'DATABASE_UNREACHABLE' });
    expect(String(error)).toContain(`${protocol}://${place}`);
    expect(String(error)).not.toContain('secret');
    expect(remainsOf(tmp)).toEqual(CLEAN);
  },
);

/** Makes a user `guest` with the password `secret` who may look and no more. */
const makeGuest = {
  postgres: [`CREATE ROLE guest LOGIN PASSWORD 'secret'`],
  mariadb: [`CREATE USER guest@127.0.0.1 IDENTIFIED BY 'secret'`, 'GRANT SELECT ON lab.* TO guest@127.0.0.1'],
};

test.for([
  ['postgres', '42501'],
  ['mariadb', 'ER_DBACCESS_DENIED_ERROR'],
] as const)(
  'a user who may not make a schema is a named error, and nothing is left: %s',
  async ([kind, code]) => {
    const { given } = await startGiven(kind);
    await withDatabase(given.url, LIMIT_MS, async (query) => {
      for (const statement of makeGuest[kind]) await query(statement);
    });
    const store = Object.assign(new URL(given.url), { username: 'guest', password: 'secret' }).href as Store;
    await expect(startCluster({ ...options, store })).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      cause: { code },
    });
    expect(await labSchemas(given.url)).toEqual([]);
  },
);

test('options of a given URL are kept beside the search path', () => {
  const url = withSearchPath(
    'postgres://me@db/shop?sslmode=disable&options=-c%20work_mem%3D4MB',
    'race_lab_1',
  );
  expect(url).toBe(
    'postgres://me@db/shop?sslmode=disable&options=-c%20work_mem%3D4MB%20-c%20search_path%3Drace_lab_1',
  );
});

test('parameters of a given URL are kept beside the name of the database', () => {
  const url = withDatabaseName('mariadb://me:s%40@db:3307/shop?connectTimeout=500', 'race_lab_1');
  expect(url).toBe('mysql://me:s%40@db:3307/race_lab_1?connectTimeout=500');
});

test('on a fixed port everything has its place, and a taken one is refused before anything starts', async () => {
  const tmp = temporaryDirectory();
  const port = await freeRange(11);
  const cluster = await testCluster({ port });
  expect(cluster.instances.map(({ baseUrl }) => new URL(baseUrl).port)).toEqual([
    `${port + 1}`,
    `${port + 2}`,
  ]);
  expect(new URL(cluster.sandbox.baseUrl).port).toBe(`${port + 10}`);
  if (cluster.frontDoor.kind === 'nginx')
    expect(cluster.frontDoor.urls).toEqual([`http://127.0.0.1:${port}`]);
  await expect(startCluster({ ...options, port: port - 1 })).rejects.toMatchObject({
    name: 'PortTakenError',
    code: 'PORT_TAKEN',
    message: expect.stringContaining('--port'),
  });
  await cluster.close();
  const squatter = createServer().listen(port + 2, '127.0.0.1');
  onTestFinished(() => void squatter.close());
  const started: string[] = [];
  const onProgress = (text: string) => started.push(text);
  await expect(startCluster({ ...options, port, onProgress })).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    port: port + 2,
  });
  expect(started).toEqual([]);
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('a part that dies at start shows its log and takes the others with it', async () => {
  const tmp = temporaryDirectory();
  const shopDies = startCluster({ ...options, shopEnv: { DIE: 'migration 3 failed' } });
  await expect(shopDies).rejects.toMatchObject({ code: 'SERVER_ENDED', logTail: 'migration 3 failed' });
  expect(remainsOf(tmp)).toEqual(CLEAN);
  const sandboxDies = startCluster({ ...options, sandboxEnv: { DIE: 'MODE must be one of' } });
  await expect(sandboxDies).rejects.toMatchObject({
    server: 'payment-sandbox',
    logTail: 'MODE must be one of',
  });
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test.for([
  ['postgres', 'at once'],
  ['postgres', 'redis'],
  ['postgres', 'payment-sandbox'],
  ['postgres', 'postgres'],
  ['postgres', 'lotto-back-1'],
  ['postgres', 'nginx'],
  ['mariadb', 'payment-sandbox'],
  ['mariadb', 'mariadb'],
] as const)('an abort during the start leaves nothing: on %s, %s', async ([store, moment]) => {
  const tmp = temporaryDirectory();
  const abort = new AbortController();
  const reason = new Error('Ctrl-C');
  const starting = startCluster({
    ...options,
    store,
    signal: abort.signal,
    onProgress: (text) => {
      if (text.startsWith(`${moment} is`)) abort.abort(reason);
    },
  });
  if (moment === 'at once') abort.abort(reason);
  await expect(starting).rejects.toBe(reason);
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('an instance that was killed starts again on its port, with its settings, and is left out of no balance', async () => {
  const tmp = temporaryDirectory();
  const cluster = await testCluster({ shopEnv: { PURCHASE_STRATEGY: 'unique-claim' } });
  const [instance] = cluster.instances;
  if (instance === undefined) throw new Error('there is no instance');
  const { baseUrl, name, pid } = instance;
  await watchingServers(cluster, never, async (ended, watch) => {
    await cluster.servers.get(name)?.signal('SIGKILL');
    await cluster.servers.get(name)?.exited;
    const again = await cluster.startAgain(instance);
    watch(again);
    expect(again.pid).not.toBe(pid);
    expect(instance).toMatchObject({ baseUrl, name, pid: again.pid });
    expect(cluster.servers.get(name)).toBe(again);
    expect(await envOf(baseUrl)).toMatchObject({ SERVER_NAME: name, PURCHASE_STRATEGY: 'unique-claim' });
    expect(ended).toEqual(new Set());
    // Whoever ends by himself is told, also when he had been started again.
    process.kill(again.pid, 'SIGKILL');
    await again.exited;
    await until(() => ended.has(name));
  });
  await cluster.close();
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test.skipIf(!redis.found)('with a faulty Redis every instance has a way of its own to it', async () => {
  const tmp = temporaryDirectory();
  const cluster = await testCluster({ redis: 'faulty' });
  const urls = await Promise.all(
    cluster.instances.map(async ({ baseUrl }) => (await envOf(baseUrl)).REDIS_URL),
  );
  expect(urls).toEqual(cluster.faultyRedis?.urls);
  expect(new Set(urls).size).toBe(2);
  await cluster.faultyRedis?.killAndRestart('lost');
  expect(await cluster.faultyRedis?.withSession((session) => session.command('DBSIZE'))).toBe(0);
  await cluster.close();
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('a start that waits for a part that never gets ready can be aborted', async () => {
  const tmp = temporaryDirectory();
  const abort = new AbortController();
  const starting = startCluster({
    ...options,
    shopEnv: { NEVER_READY: '1' },
    signal: abort.signal,
    onProgress: (text) => text.startsWith('postgres is up') && setTimeout(() => abort.abort(), 300),
  });
  await expect(starting).rejects.toMatchObject({ name: 'AbortError' });
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test('a guardian that dies during the start is the error of the start', async () => {
  const tmp = temporaryDirectory();
  const starting = startCluster({
    ...options,
    onProgress: (text) => {
      const guardian = remainsOf(tmp).processes.find((line) => line.includes('guardian')) ?? '';
      if (text.startsWith('postgres is up')) process.kill(Number.parseInt(guardian, 10), 'SIGKILL');
    },
  });
  await expect(starting).rejects.toMatchObject({ name: 'GuardianLostError', code: 'GUARDIAN_LOST' });
  expect(nothing(remainsOf(tmp))).toBe(true);
});

test.for<[string, Partial<ClusterOptions>]>([
  ['instances must be a whole number from 1 to 16, got 0', { instances: 0 }],
  ['instances must be a whole number from 1 to 16, got 17', { instances: 17 }],
  [`store must be ${STORE_FORMS}`, { store: 'oracle://db/shop' as Store }],
  [`store must be ${STORE_FORMS}`, { store: 'mysql://db:port/shop' }],
  ['port must be a whole number from 1 to 65525, got 65526', { port: 65_526 }],
  ['port must be a whole number from 1 to 65525, got 0', { port: 0 }],
])('%s', async ([message, overrides]) => {
  const tmp = temporaryDirectory();
  await expect(startCluster({ ...options, ...overrides })).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message,
  });
  expect(remainsOf(tmp)).toEqual(CLEAN);
});

test.skipIf(!asRoot).for(['postgres', 'mariadb'] as const)(
  'an ordinary user can do it all on %s (as root only, which can become one)',
  async (store) => {
    const tmp = temporaryDirectory();
    const script = `
    const { startCluster } = await import(${JSON.stringify(new URL('../../src/cluster/cluster.ts', import.meta.url).href)});
    const cluster = await startCluster(${JSON.stringify({ ...options, store })});
    const urls = [...cluster.frontDoor.urls, ...cluster.instances.map((it) => it.baseUrl)];
    const answers = await Promise.all(urls.map(async (url) => (await fetch(url + '/ping')).status));
    await cluster.close();
    console.log(JSON.stringify({ uid: process.getuid(), answers, kind: cluster.frontDoor.kind }));`;
    const asNobody = ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath];
    const { stdout, stderr } = spawnSync('setpriv', [...asNobody, '--input-type=module', '-e', script], {
      cwd: '/',
      env: { PATH: process.env.PATH, HOME: '/nonexistent', TMPDIR: tmp },
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    const nginx = await serverFinder(process.env.PATH ?? '')(nginxPackage);
    const frontDoor = nginx.found ? { kind: 'nginx', answers: [200, 200, 200] } : { kind: 'rotate' };
    expect(JSON.parse(stdout)).toMatchObject({ uid: 65_534, ...frontDoor });
    expect(remainsOf(tmp)).toEqual(CLEAN);
  },
);
