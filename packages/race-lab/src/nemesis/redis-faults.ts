import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Instance } from '../cluster/cluster.ts';
import type { Replica } from '../cluster/faulty-redis.ts';
import { monotonicUs } from '../racer/exchange.ts';
import { isContended, lieInWait, lookAt } from './lock-view.ts';
import type { Nemesis, NemesisScene, RaceUnderWay } from './nemesis.ts';
import { standingHolder } from './standing-holder.ts';

/** How long the instances may take to find their Redis again. */
const REACH_LIMIT_MS = 20_000;
const REACH_PAUSE_MS = 20;
const ANSWER_LIMIT_MS = 5_000;

/** Redis dies and comes back, with or without what it knew. */
export function redisKilled(scene: NemesisScene, data: 'kept' | 'lost'): Nemesis {
  return whileHeld(scene, async ({ atUs }) => {
    await scene.redis.killAndRestart(data);
    const ms = ((monotonicUs() - atUs) / 1000).toFixed(0);
    return `Redis was killed, and was back ${data === 'lost' ? 'empty' : 'with its file'} after ${ms} ms`;
  });
}

/** Redis forgets everything. */
export function redisFlushed(scene: NemesisScene): Nemesis {
  return whileHeld(scene, async () => {
    await scene.redis.withSession((session) => session.command('FLUSHALL'));
    return 'Redis was flushed';
  });
}

/**
 * A replica takes over that does not know who has the lock: it has lost its link before, by chance before the race or in it.
 *
 * @throws as `FaultyRedis.replicate` does
 */
export async function redisFailedOver(scene: NemesisScene): Promise<Nemesis> {
  const replica = await scene.redis.replicate();
  const isCutBefore = scene.random(2) === 0;
  if (isCutBefore) await replica.cutLink();
  const failOver = async ({ race }: Held) => {
    if (!isCutBefore) {
      await replica.cutLink();
      if (!(await untilUnknown(scene, replica, race))) return null;
    }
    await replica.failOver();
    const when = isCutBefore ? 'the race' : 'its holder came';
    return `Redis failed over to a replica that was cut off before ${when}`;
  };
  // Who stands still stays the holder, so a replica that is cut off then has heard of him.
  return whileHeld(scene, failOver, { mayStand: isCutBefore });
}

/** Until the lock is held and waited for, by a holder of whom the replica has not heard; false when the race is over before. */
function untilUnknown(
  { lock, redis }: NemesisScene,
  replica: Replica,
  { over }: RaceUnderWay,
): Promise<boolean> {
  return redis.withSession(async (session) => {
    const known = await replica.withSession((ofReplica) => lookAt(lock, ofReplica));
    while (!over.aborted) {
      const look = await lookAt(lock, session);
      if (isContended(look) && look.holder !== known.holder) return true;
    }
    return false;
  });
}

/** The lock is held and waited for. */
interface Held {
  /** Since when it is known, by the monotonic clock, in microseconds. */
  atUs: number;
  race: RaceUnderWay;
}

/**
 * Does something to Redis while the lock is held and waited for. By chance its holder stands still meanwhile, when it has read,
 * and goes on when somebody else has gone through: most sections are shorter than the fault.
 *
 * @param fault  Answers what it did; null where it could not.
 */
function whileHeld(
  scene: NemesisScene,
  fault: (held: Held) => Promise<string | null>,
  { mayStand = true }: { mayStand?: boolean } = {},
): Nemesis {
  const { cluster, redis } = scene;
  const holder = mayStand && scene.random(2) === 0 ? standingHolder(scene) : null;
  const untilReached = reaching(scene);
  return {
    stops: holder?.stops ?? null,
    async strike(race) {
      const stillSinceUs = await holder?.untilStill(race);
      // Perhaps nobody waits for it yet.
      if (holder !== null) race.releaseMore();
      const atUs =
        stillSinceUs === null ? null : await redis.withSession((session) => lieInWait(scene, session, race));
      const did = atUs === null ? null : await fault({ atUs, race });
      if (atUs === null || did === null) {
        await holder?.goOn();
        return null;
      }
      if (holder === null) return { atUs, did, victim: null };
      const { name } = holder.instance;
      await untilReached(cluster.instances.filter((instance) => instance.name !== name));
      await holder.letPass(race, atUs);
      await holder.goOn();
      return { atUs, did: `${did}, while ${name} had the lock and stood still`, victim: name };
    },
    heal: () => untilReached(cluster.instances),
  };
}

/**
 * Resolves when the given instances have as many connections with Redis as they all had when this was called, and use them.
 *
 * @throws NotHealedError
 */
export function reaching({
  cluster,
  redis,
  signal,
}: NemesisScene): (instances: readonly Instance[]) => Promise<void> {
  const connectionsOf = ({ name }: Instance) =>
    redis.proxy.connections(cluster.instances.findIndex((instance) => instance.name === name));
  const before = new Map(cluster.instances.map((instance) => [instance.name, connectionsOf(instance)]));
  return async (instances) => {
    const endMs = performance.now() + REACH_LIMIT_MS;
    for (const instance of instances) {
      const isBack = async () =>
        connectionsOf(instance) >= (before.get(instance.name) ?? 0) && (await reaches(instance, signal));
      while (!(await isBack())) {
        if (performance.now() > endMs) throw new NotHealedError(`${instance.name} does not find Redis again`);
        await sleep(REACH_PAUSE_MS, undefined, { signal });
      }
    }
  };
}

/** Asks an instance for something that is in Redis. */
async function reaches({ baseUrl }: Instance, signal: AbortSignal): Promise<boolean> {
  const response = await fetch(`${baseUrl}/lab/coupon/${randomUUID()}/counter`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]),
  });
  await response.body?.cancel();
  return response.ok;
}

/** What a fault broke could not be mended, so nothing more can be raced here. */
export class NotHealedError extends Error {
  override readonly name = 'NotHealedError';
  readonly code = 'NOT_HEALED';
}
