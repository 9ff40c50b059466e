/** A process of racers: opens what they race on, runs what it is told to, and ends with whoever started it. */

import { reported } from './job.ts';
import { jobs } from './jobs.ts';
import type { FromRacers, ToRacers } from './messages.ts';
import { Runner } from './runner.ts';
import { openWorld, type World } from './world.ts';

let world: World | undefined;
let runner: Runner | undefined;

process.on('message', (message: ToRacers) => {
  switch (message.kind) {
    case 'open':
      void answer(async () => {
        world = await openWorld(message.world);
        runner = new Runner(world, tell);
      });
      break;
    case 'close':
      void answer(async () => {
        runner = undefined;
        await world?.close();
        world = undefined;
      });
      break;
    case 'start': {
      const job = jobs.get(message.job);
      if (job === undefined) throw new TypeError(`no such job: ${message.job}`);
      void runner?.start(message, job);
      break;
    }
    case 'pass':
      runner?.pass(message.run, message.point);
  }
});

process.on('disconnect', () => process.exit());

async function answer(step: () => Promise<void>): Promise<void> {
  try {
    await step();
    tell({ kind: 'ready' });
  } catch (error) {
    tell({ kind: 'failed', error: reported(error) });
  }
}

function tell(message: FromRacers): void {
  if (process.connected) process.send?.(message);
}
