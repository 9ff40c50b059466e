import { rm } from 'node:fs/promises';
import { onTestFinished } from 'vitest';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { type Guardian, startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import {
  installedMariadb,
  type Mariadb,
  mariadbPackage,
  startMariadb,
} from '../packages/race-lab/src/cluster/mariadb.ts';
import { fixedPort } from '../packages/race-lab/src/cluster/ports.ts';
import {
  embeddedPostgresFolder,
  type Postgres,
  startPostgres,
} from '../packages/race-lab/src/cluster/postgres.ts';
import { type Redis, redisPackage, startRedis } from '../packages/race-lab/src/cluster/redis.ts';
import type { RunningServer } from '../packages/race-lab/src/cluster/start-server.ts';
import type { Ends } from './ends.ts';

/** A server that can be killed and started again, on the same port and with the same password. */
export interface OwnServer {
  readonly url: string;
  /** As by a crash. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again after `kill`. Resolves when it answers. */
  start(data: 'kept'): Promise<void>;
}

/** A PostgreSQL for what would disturb everybody else on the run's. It ends with the test. */
export async function newPostgresServer(): Promise<OwnServer> {
  const { signal } = new AbortController();
  const nativeFolder = embeddedPostgresFolder();
  const server = await startPostgres(await ownGuardian(), { nativeFolder, signal });
  // SIGQUIT, at which it ends at once and recovers at the next start, and takes its children with it.
  return restartable(server, 'SIGQUIT');
}

/** A MariaDB for what would disturb everybody else on the run's. It ends with the test, unless `ends` says when. */
export async function newMariadbServer(ends: Ends = onTestFinished): Promise<OwnServer> {
  const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
  const { signal } = new AbortController();
  return restartable(await startMariadb(await ownGuardian(ends), { program, signal }), 'SIGKILL');
}

function restartable(first: Postgres | Mariadb, crash: NodeJS.Signals): OwnServer {
  let server: RunningServer = first;
  return {
    url: first.url,
    async kill() {
      await server.signal(crash);
      await server.exited;
    },
    async start() {
      server = await first.startAgain();
    },
  };
}

/** A Redis that can be killed and started again, on the same port and with the same password. */
export interface RedisServer extends OwnServer {
  /** SIGKILL. Resolves when the process is gone. */
  kill(): Promise<void>;
  /**
   * Starts it again after `kill`. Resolves when it answers; what it has to load is loaded by then.
   *
   * @param settings  On top of those that it was made with, and for this start only.
   */
  start(data: 'kept' | 'removed', settings?: RedisSettings): Promise<void>;
  /** SIGSTOP: its port takes connections, and nothing is answered. Undone by `resume`, and by `kill`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
}

/** Settings of Redis, in the words of redis.conf: `{ maxmemory: '2mb', appendfsync: 'always' }`. */
export type RedisSettings = Readonly<Record<string, string>>;

/**
 * A Redis for what would disturb everybody else on the run's. It ends with the test.
 *
 * It has an append-only file that is synced every second, and evicts nothing, unless `settings` say otherwise.
 */
export async function newRedisServer(settings: RedisSettings = {}): Promise<RedisServer> {
  const found = await serverFinder(process.env.PATH ?? '')(redisPackage);
  if (!found.found) throw new Error(`the tests need Redis: ${found.install}`);
  const program = found.path;
  const guardian = await ownGuardian();
  const { signal } = new AbortController();
  let server: Redis = await startRedis(guardian, program, signal, { settings });
  const { url, port, folder } = server;
  const again = { port: fixedPort(port, 'the server that was killed'), password: new URL(url).password };
  return {
    url,
    async kill() {
      await server.signal('SIGKILL');
      await server.exited;
    },
    async start(data, more = {}) {
      if (data === 'removed') await rm(folder, { recursive: true });
      server = await startRedis(guardian, program, signal, { ...again, settings: { ...settings, ...more } });
    },
    async pause() {
      await server.signal('SIGSTOP');
    },
    async resume() {
      await server.signal('SIGCONT');
    },
  };
}

/** One whose servers end with the test, unless `ends` says when. */
async function ownGuardian(ends: Ends = onTestFinished): Promise<Guardian> {
  const guardian = await startGuardian();
  ends(async () => {
    await guardian.end();
  });
  return guardian;
}
