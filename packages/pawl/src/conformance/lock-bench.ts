import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { numberOf } from './business-tables.ts';
import { Closers } from './closers.ts';
import { SESSION_LOCKS, SESSIONS_WAITING } from './database.ts';
import { MOST_AT_ONCE } from './lock-times.ts';
import type { LocksSpec } from './locks-world.ts';
import { addressOf, openRedis, openSql, type ServerAddress } from './open.ts';
import { type CuttingProxy, startProxy } from './proxy.ts';
import { type TwoHosts, twoHosts } from './race.ts';
import type { RacerHost } from './racer-host.ts';
import { startRacerProcess } from './racer-process.ts';
import { startRacersHere } from './racers-here.ts';
import { keysIn, membersIn, removeAll } from './redis-keys.ts';
import { until } from './waiting.ts';
import type { WorldSpec } from './world.ts';

/** Hosts, each with locks of its own: they compete like processes, also those that are in this one. */
export interface LockBench {
  /** Two in processes of their own, unless the store lives in one. */
  hosts(): Promise<TwoHosts>;
  /** One in this process; it comes to the server by way of `port` where one is given. */
  here(port?: number): Promise<RacerHost>;
  /** Resolves when so many places wait in the store, and no more; where nobody can tell, when they have had the time to. */
  queued(places: number): Promise<void>;
  /** Resolves when the store keeps nothing of any lock; where nobody can tell, at once. */
  empty(): Promise<void>;
  /** Between hosts and the server. */
  proxy(): Promise<CuttingProxy>;
}

/** Runs a case on locks of its own. */
export type OnLockBench = (work: (bench: LockBench) => Promise<void>) => Promise<void>;

/** What is tried, and on what. */
export interface LockSubject {
  readonly module: string;
  readonly url: string;
  readonly execArgv: readonly string[] | undefined;
}

export interface LockStoreSubject {
  readonly module: string;
  readonly url: string | undefined;
  readonly processes: 1 | 2;
  readonly execArgv: readonly string[] | undefined;
}

/** How long it takes to wait in a store that cannot be asked who does, in milliseconds. */
const SETTLED_MS = 200;

export async function onSqlLocks(
  { module, url, execArgv }: LockSubject,
  work: (bench: LockBench) => Promise<void>,
): Promise<void> {
  const server = addressOf(url);
  const spec = ({ port = server.port }: { port?: number | undefined } = {}): LocksSpec => ({
    kind: 'sql',
    module,
    connection: { ...server, port, connections: MOST_AT_ONCE },
  });
  const closers = new Closers();
  await closers.around(async () => {
    const { sql, close } = await openSql(module, { ...server, connections: 1 });
    closers.add(close);
    const waiting = SESSIONS_WAITING[sql.dialect.name];
    const held = SESSION_LOCKS[sql.dialect.name];
    await work({
      ...over(closers, { spec, execArgv, processes: 2, server }),
      queued: (places) =>
        until(
          async () => (await numberOf(sql, waiting)) === places,
          `${places} sessions that wait for a lock`,
        ),
      empty: () =>
        until(
          async () => held === undefined || (await numberOf(sql, held)) === 0,
          'the end of all locks of sessions',
        ),
    });
  });
}

export async function onRedisLocks(
  { module, url, execArgv }: LockSubject,
  work: (bench: LockBench) => Promise<void>,
): Promise<void> {
  const server = addressOf(url);
  const prefix = `pawl-c${randomBytes(6).toString('hex')}:`;
  const spec = ({ port = server.port }: { port?: number | undefined } = {}): LocksSpec => ({
    kind: 'redis',
    module,
    server: { ...server, port },
    prefix,
  });
  const closers = new Closers();
  await closers.around(async () => {
    const { redis, close } = await openRedis(module, server);
    closers.add(close);
    closers.add(() => removeAll(redis, prefix));
    await work({
      ...over(closers, { spec, execArgv, processes: 2, server }),
      queued: (places) =>
        until(async () => (await membersIn(redis, prefix)) === places, `${places} places in the queues`),
      empty: () =>
        until(async () => (await keysIn(redis, prefix)).length === 0, 'the end of all keys in Redis'),
    });
  });
}

export async function onLockStore(
  { module, url, processes, execArgv }: LockStoreSubject,
  work: (bench: LockBench) => Promise<void>,
): Promise<void> {
  const which = { url, namespace: `pawl_c${randomBytes(5).toString('hex')}` };
  const closers = new Closers();
  await closers.around(() =>
    work({
      ...over(closers, {
        spec: () => ({ kind: 'store', module, which }),
        execArgv,
        processes,
        server: undefined,
      }),
      queued: () => sleep(SETTLED_MS),
      empty: async () => undefined,
    }),
  );
}

interface Hosting {
  readonly spec: (over?: { port?: number | undefined }) => LocksSpec;
  readonly execArgv: readonly string[] | undefined;
  readonly processes: 1 | 2;
  readonly server: ServerAddress | undefined;
}

function over(
  closers: Closers,
  { spec, execArgv, processes, server }: Hosting,
): Pick<LockBench, 'hosts' | 'here' | 'proxy'> {
  const world = (port?: number): WorldSpec => ({ kind: 'locks', on: spec({ port }) });
  return {
    hosts: () =>
      twoHosts(
        () => (processes === 1 ? startRacersHere(world()) : startRacerProcess(world(), execArgv)),
        closers,
      ),
    async here(port) {
      const host = await startRacersHere(world(port));
      closers.add(() => host.end());
      return host;
    },
    async proxy() {
      if (server === undefined) throw new TypeError('there is no server');
      const proxy = await startProxy(
        server,
        () => false,
        () => 'passes',
      );
      closers.add(() => proxy.close());
      return proxy;
    },
  };
}
