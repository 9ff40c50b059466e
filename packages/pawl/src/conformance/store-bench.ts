import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Closers } from './closers.ts';
import { twoHosts } from './race.ts';
import { startRacerProcess } from './racer-process.ts';
import { startRacersHere } from './racers-here.ts';
import type { RecordsBench } from './records-bench.ts';
import { openWorld, recordsOf, type WorldSpec } from './world.ts';

/** The store that is tried. */
export interface StoreSubject {
  readonly module: string;
  readonly url: string | undefined;
  readonly processes: 1 | 2;
  readonly execArgv: readonly string[] | undefined;
}

/** Runs a case on records of its own. Runs of handlers are counted in a file that is removed at the end. */
export async function onStoreBench(
  { module, url, processes, execArgv }: StoreSubject,
  work: (bench: RecordsBench) => Promise<void>,
): Promise<void> {
  const closers = new Closers();
  await closers.around(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pawl-conformance-'));
    closers.add(() => rm(folder, { recursive: true }));
    const which = { url, namespace: `pawl_c${randomBytes(5).toString('hex')}` };
    const world: WorldSpec = { kind: 'store', module, which, ledgerFile: join(folder, 'runs') };
    const here = await openWorld(world);
    closers.add(here.close);
    await work({
      ...recordsOf(here),
      hosts: () =>
        twoHosts(
          () => (processes === 1 ? startRacersHere(world) : startRacerProcess(world, execArgv)),
          closers,
        ),
    });
  });
}
