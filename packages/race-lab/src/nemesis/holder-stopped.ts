import { monotonicUs } from '../racer/exchange.ts';
import type { Nemesis, NemesisScene } from './nemesis.ts';
import { standingHolder } from './standing-holder.ts';

/**
 * The holder stops when it has read, and goes on when its lease is over and somebody else has gone through: a pause of the
 * garbage collector, a full processor, a frozen machine.
 */
export function holderStopped(scene: NemesisScene): Nemesis {
  const { stops, instance, untilStill, letPass, goOn } = standingHolder(scene);
  return {
    stops,
    async strike(race) {
      const atUs = await untilStill(race);
      if (atUs === null) return null;
      const passed = await letPass(race, atUs);
      const ms = ((monotonicUs() - atUs) / 1000).toFixed(0);
      await goOn();
      if (!passed) return null;
      return { atUs, did: `${instance.name} stood still for ${ms} ms`, victim: instance.name };
    },
    heal: goOn,
  };
}
