import { setTimeout as sleep } from 'node:timers/promises';
import type { Instance } from '../cluster/cluster.ts';
import { monotonicUs } from '../racer/exchange.ts';
import { lieInWait, untilContended, waitersAmong } from './lock-view.ts';
import type { Nemesis, NemesisScene } from './nemesis.ts';

/** An instance that waits for the lock dies. */
export function waiterKilled(scene: NemesisScene): Nemesis {
  const { cluster, redis, lock, random, watch } = scene;
  let killed: Instance | undefined;

  return {
    stops: null,
    strike: (race) =>
      redis.withSession(async (session) => {
        if ((await lieInWait(scene, session, race)) === null) return null;
        for (;;) {
          const look = await untilContended(lock, session, race.over);
          if (look === null) return null;
          const waiters = waitersAmong(lock, look, redis.proxy);
          const victim = cluster.instances[waiters[random(Math.max(1, waiters.length))] ?? -1];
          const server = victim && cluster.servers.get(victim.name);
          if (victim === undefined || server === undefined) {
            await sleep(1);
            continue;
          }
          const atUs = monotonicUs();
          killed = victim;
          await server.signal('SIGKILL');
          await server.exited;
          return { atUs, did: `${victim.name} was killed while it waited`, victim: victim.name };
        }
      }),
    async heal() {
      if (killed === undefined) return;
      watch(await cluster.startAgain(killed));
      killed = undefined;
    },
  };
}
