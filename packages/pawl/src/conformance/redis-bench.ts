import { randomBytes } from 'node:crypto';
import type { RedisPort } from '../ports.ts';
import { Closers } from './closers.ts';
import { addressOf, openRedis } from './open.ts';
import { type CuttingProxy, type Fate, startProxy } from './proxy.ts';
import { twoHosts } from './race.ts';
import { startRacerProcess } from './racer-process.ts';
import type { RecordsBench } from './records-bench.ts';
import { removeAll } from './redis-keys.ts';
import { openWorld, recordsOf, type WorldSpec } from './world.ts';

/** The adapter that is tried, and on what. */
export interface RedisSubject {
  readonly module: string;
  readonly url: string;
  readonly execArgv: readonly string[] | undefined;
}

/** The keys of one case, and the author's port over them, here and in other processes. */
export interface RedisBench extends RecordsBench {
  readonly redis: RedisPort;
  /** In front of every key. */
  readonly prefix: string;
  /** Another port of the author's in this process, by way of `port`. */
  open(port: number): Promise<RedisPort>;
  proxy(isIt: (data: Buffer) => boolean, fateOf: (request: number) => Fate): Promise<CuttingProxy>;
}

/** Runs a case on keys of its own. */
export async function onRedisBench(
  { module, url, execArgv }: RedisSubject,
  work: (bench: RedisBench) => Promise<void>,
): Promise<void> {
  const server = addressOf(url);
  const prefix = `pawl-c${randomBytes(6).toString('hex')}:`;
  const world: WorldSpec = { kind: 'redis', module, server, prefix };
  const closers = new Closers();
  await closers.around(async () => {
    const { redis, close } = await openRedis(module, server);
    closers.add(close);
    closers.add(() => removeAll(redis, prefix));
    const here = await openWorld(world);
    closers.add(here.close);
    await work({
      redis,
      prefix,
      ...recordsOf(here),
      async open(port) {
        const opened = await openRedis(module, { ...server, port });
        closers.add(opened.close);
        return opened.redis;
      },
      hosts: () => twoHosts(() => startRacerProcess(world, execArgv), closers),
      async proxy(isIt, fateOf) {
        const proxy = await startProxy(server, isIt, fateOf);
        closers.add(() => proxy.close());
        return proxy;
      },
    });
  });
}
