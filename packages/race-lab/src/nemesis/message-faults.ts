import { setTimeout as sleep } from 'node:timers/promises';
import type { CutChoice } from '../cluster/redis-proxy.ts';
import { isWakeUp, lieInWait } from './lock-view.ts';
import type { Nemesis, NemesisScene } from './nemesis.ts';
import { reaching } from './redis-faults.ts';

const MOST_DROPPED = 3;
const LOOK_PAUSE_MS = 2;

/** Connections to Redis break: by chance of one instance or of all, those that listen or all. */
export function connectionCut(scene: NemesisScene): Nemesis {
  const { cluster, redis, random } = scene;
  const kind: CutChoice['kind'] = random(2) === 0 ? 'subscribers' : 'all';
  const client = random(2) === 0 ? random(cluster.instances.length) : undefined;
  const untilReached = reaching(scene);
  return {
    stops: null,
    async strike(race) {
      const atUs = await redis.withSession((session) => lieInWait(scene, session, race));
      if (atUs === null) return null;
      const cut = redis.proxy.cut(client === undefined ? { kind } : { kind, client });
      if (cut === 0) return null;
      const whose = (client === undefined ? undefined : cluster.instances[client]?.name) ?? 'all instances';
      const which = kind === 'all' ? 'all' : 'those that listened';
      return { atUs, did: `${cut} connections of ${whose} to Redis were cut (${which})`, victim: null };
    },
    heal: () => untilReached(cluster.instances),
  };
}

/** Messages that wake who waits are lost; by chance one to three. */
export function wakeUpDropped(scene: NemesisScene): Nemesis {
  const { redis, lock, random } = scene;
  const meant = 1 + random(MOST_DROPPED);
  return {
    stops: null,
    async strike(race) {
      const atUs = await redis.withSession((session) => lieInWait(scene, session, race));
      if (atUs === null) return null;
      const drop = redis.proxy.dropMessages(meant, (channel) => isWakeUp(lock, channel));
      while (drop.dropped < meant && !race.over.aborted) await sleep(LOOK_PAUSE_MS);
      drop.end();
      if (drop.dropped === 0) return null;
      return { atUs, did: `${drop.dropped} messages that wake a waiter did not arrive`, victim: null };
    },
    heal: async () => undefined,
  };
}
