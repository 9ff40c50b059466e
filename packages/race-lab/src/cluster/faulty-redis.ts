import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Guardian } from './guardian.ts';
import { samePort } from './ports.ts';
import { type Redis, startRedis } from './redis.ts';
import { type RedisProxy, startRedisProxy } from './redis-proxy.ts';
import { openRedisSession, type RedisSession } from './redis-session.ts';
import type { RunningServer } from './start-server.ts';

const ANSWER_LIMIT_MS = 5_000;
/** How long a replica may take to have everything. */
const SYNC_LIMIT_MS = 20_000;
const SYNC_LOOK_MS = 10;

/** A replica gets everything at once, instead of after five seconds in which others might come. */
const REPLICATION = { 'repl-diskless-sync': 'yes', 'repl-diskless-sync-delay': '0' };

/** A private Redis that can be made to fail, which its clients reach by way of a proxy. */
export interface FaultyRedis {
  readonly proxy: RedisProxy;
  /** For each client, the URL that leads through the proxy. */
  readonly urls: readonly string[];
  /** Runs `work` with a connection of the lab's own to the Redis that clients are led to, and closes it. */
  withSession<T>(work: (session: RedisSession) => Promise<T>): Promise<T>;
  /**
   * Kills it and starts it again on the same port.
   *
   * @param data  `kept`: with what is in its files; `lost`: empty.
   * @throws as startServer does
   */
  killAndRestart(data: 'kept' | 'lost'): Promise<void>;
  /**
   * Gives it a replica, which has everything when this resolves. Starts one where there is none yet.
   *
   * @throws as startServer does; ReplicaError
   */
  replicate(): Promise<Replica>;
  /** The servers have been ended, or will be. */
  close(): Promise<void>;
}

export interface Replica {
  /** From now on the replica hears of nothing. It keeps what it has. */
  cutLink(): Promise<void>;
  /** Runs `work` with a connection to the replica. */
  withSession<T>(work: (session: RedisSession) => Promise<T>): Promise<T>;
  /** Kills the one that clients are led to, and leads them to the replica, which is a replica no more. */
  failOver(): Promise<void>;
}

/** A replica did not become one. */
class ReplicaError extends Error {
  override readonly name = 'ReplicaError';
  readonly code = 'NOT_REPLICATED';
}

/**
 * Starts one for so many clients.
 *
 * @param program    The path of `redis-server` or `valkey-server`.
 * @param onStarted  Told of each server, also when it is started again.
 * @throws as startServer does
 */
export async function startFaultyRedis(
  guardian: Guardian,
  program: string,
  {
    clients,
    signal,
    onStarted,
  }: { clients: number; signal: AbortSignal; onStarted(server: RunningServer): void },
): Promise<FaultyRedis> {
  const started = (redis: Redis): Redis => {
    onStarted(redis);
    return redis;
  };
  let primary = started(await startRedis(guardian, program, signal, { settings: REPLICATION }));
  /** Runs, or has been killed: the other of the two. */
  let other: Redis | undefined;
  const { password } = new URL(primary.url);
  const proxy = await startRedisProxy(clients, addressOf(primary));

  async function killed(redis: Redis): Promise<void> {
    await redis.signal('SIGKILL');
    await redis.exited;
  }

  async function startAgain(redis: Redis, data: 'kept' | 'lost'): Promise<Redis> {
    if (data === 'lost') await rm(join(redis.folder, 'appendonlydir'), { recursive: true, force: true });
    const { name, port } = redis;
    const options = { name, password, port: samePort(port), settings: REPLICATION };
    return started(await startRedis(guardian, program, signal, options));
  }

  /** A second server, empty. */
  async function second(): Promise<Redis> {
    if (other === undefined) {
      return started(
        await startRedis(guardian, program, signal, { name: 'redis-2', password, settings: REPLICATION }),
      );
    }
    await killed(other);
    return startAgain(other, 'lost');
  }

  return {
    proxy,
    urls: proxy.ports.map((port) => `redis://:${password}@127.0.0.1:${port}/0`),
    withSession: (work) => withSession(primary, work),
    async killAndRestart(data) {
      await killed(primary);
      primary = await startAgain(primary, data);
    },
    async replicate() {
      const replica = await second();
      other = replica;
      await withSession(replica, async (session) => {
        await session.command('CONFIG', 'SET', 'masterauth', password);
        await session.command('REPLICAOF', '127.0.0.1', primary.port);
        await untilSynced(session, signal);
      });
      return {
        cutLink: () =>
          withSession(replica, async (session) => void (await session.command('REPLICAOF', 'NO', 'ONE'))),
        withSession: (work) => withSession(replica, work),
        async failOver() {
          await killed(primary);
          [primary, other] = [replica, primary];
          proxy.leadTo(addressOf(primary));
        },
      };
    },
    close: () => proxy.close(),
  };
}

function addressOf({ port }: Redis) {
  return { host: '127.0.0.1', port };
}

async function withSession<T>({ url }: Redis, work: (session: RedisSession) => Promise<T>): Promise<T> {
  const session = await openRedisSession(url, ANSWER_LIMIT_MS);
  try {
    return await work(session);
  } finally {
    session.close();
  }
}

async function untilSynced(session: RedisSession, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + SYNC_LIMIT_MS;
  for (;;) {
    const state = String(await session.command('INFO', 'replication'));
    if (state.includes('master_link_status:up')) return;
    if (performance.now() > endMs) throw new ReplicaError(`a replica did not get everything: ${state}`);
    await sleep(SYNC_LOOK_MS, undefined, { signal });
  }
}
