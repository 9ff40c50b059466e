import { rm } from 'node:fs/promises';
import { onTestFinished } from 'vitest';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { type Guardian, startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { installedMariadb, mariadbPackage, startMariadb } from '../packages/race-lab/src/cluster/mariadb.ts';
import { fixedPort } from '../packages/race-lab/src/cluster/ports.ts';
import { type Redis, redisPackage, startRedis } from '../packages/race-lab/src/cluster/redis.ts';

/** A MariaDB for what would disturb everybody else on the run's. It ends with the test. @returns its URL */
export async function newMariadb(): Promise<string> {
  const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
  const guardian = await ownGuardian();
  return (await startMariadb(guardian, { program, signal: new AbortController().signal })).url;
}

/** A Redis that can be killed and started again, on the same port and with the same password. */
export interface RedisServer {
  readonly url: string;
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

/** One whose servers end with the test. */
async function ownGuardian(): Promise<Guardian> {
  const guardian = await startGuardian();
  onTestFinished(async () => {
    await guardian.end();
  });
  return guardian;
}
