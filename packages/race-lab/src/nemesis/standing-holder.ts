import { setTimeout as sleep } from 'node:timers/promises';
import type { Instance } from '../cluster/cluster.ts';
import { isStopped } from '../cluster/process-tree.ts';
import { monotonicUs } from '../racer/exchange.ts';
import type { NemesisScene, RaceUnderWay } from './nemesis.ts';

const LOOK_PAUSE_MS = 2;
/** For how long it goes on standing still when somebody else has gone through, at most, in milliseconds. */
const STANDS_ON_MS = 20;

/** An instance that stops itself when it has the lock and has read what the lock is for. */
export interface StandingHolder {
  /** Its number. */
  readonly stops: number;
  readonly instance: Instance;
  /** Resolves when it stands still, with the moment; with null when the race was over before. */
  untilStill(race: RaceUnderWay): Promise<number | null>;
  /** Sends others, lets one of them go through and some time pass, by chance. @returns whether one did. */
  letPass(race: RaceUnderWay, sinceUs: number): Promise<boolean>;
  goOn(): Promise<void>;
}

/** Chance picks the instance. */
export function standingHolder({ cluster, random, signal }: NemesisScene): StandingHolder {
  const stops = random(cluster.instances.length);
  const instance = cluster.instances[stops];
  if (instance === undefined) throw new RangeError('there is no instance that could stand still');
  return {
    stops,
    instance,
    async untilStill(race) {
      while (!isStopped(instance.pid)) {
        if (race.over.aborted) return null;
        await sleep(LOOK_PAUSE_MS, undefined, { signal });
      }
      return monotonicUs();
    },
    async letPass(race, sinceUs) {
      race.releaseMore();
      const passed = await race.passedBy(instance, sinceUs);
      await sleep(random(STANDS_ON_MS + 1));
      return passed;
    },
    goOn: async () => void (await cluster.servers.get(instance.name)?.signal('SIGCONT')),
  };
}
