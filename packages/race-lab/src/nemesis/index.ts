import { holderStopped } from './holder-stopped.ts';
import { connectionCut, wakeUpDropped } from './message-faults.ts';
import type { Nemesis, NemesisScene } from './nemesis.ts';
import { redisFailedOver, redisFlushed, redisKilled } from './redis-faults.ts';
import { waiterKilled } from './waiter-killed.ts';

/** Makes a fault ready for one run. @throws as `FaultyRedis.replicate` does */
export async function makeReady(scene: NemesisScene): Promise<Nemesis> {
  switch (scene.fault) {
    case 'holder-stopped':
      return holderStopped(scene);
    case 'redis-killed':
      return redisKilled(scene, 'lost');
    case 'redis-restarted':
      return redisKilled(scene, 'kept');
    case 'redis-flushed':
      return redisFlushed(scene);
    case 'redis-failed-over':
      return redisFailedOver(scene);
    case 'waiter-killed':
      return waiterKilled(scene);
    case 'connection-cut':
      return connectionCut(scene);
    case 'wake-up-dropped':
      return wakeUpDropped(scene);
  }
}
