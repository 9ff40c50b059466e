import type { Job } from './job.ts';
import type { RacerHost } from './racer-host.ts';
import { Runner } from './runner.ts';
import { Runs } from './runs.ts';
import { openWorld, type WorldSpec } from './world.ts';

/** Racers in this process. */
export async function startRacersHere(spec: WorldSpec): Promise<RacerHost> {
  const world = await openWorld(spec);
  const runs: Runs = new Runs((message, job) => {
    if (message.kind === 'start') void runner.start(message, job as Job<unknown, unknown>);
    else if (message.kind === 'pass') runner.pass(message.run, message.point);
  });
  const runner = new Runner(world, (message) => runs.told(message));
  return {
    start: (job, params, racers) => runs.start(job, params, racers),
    async signal() {
      throw new TypeError('racers in this process cannot be stopped');
    },
    end() {
      runner.letGo();
      return world.close();
    },
  };
}
