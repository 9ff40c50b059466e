import assert from 'node:assert/strict';
import type { Closers } from './closers.ts';
import type { Ended, Job } from './job.ts';
import type { RacerHost } from './racer-host.ts';

/** So many race where a race is told of. */
export const RACERS = 50;

/** Two hosts in two processes, or twice the one. */
export type TwoHosts = readonly [RacerHost, RacerHost];

/** Starts both at once. They end with `closers`, also when one of them could not be started. */
export async function twoHosts(start: () => Promise<RacerHost>, closers: Closers): Promise<TwoHosts> {
  const startOne = async () => {
    const host = await start();
    closers.add(() => host.end());
    return host;
  };
  const starting = [startOne(), startOne()] as const;
  await Promise.allSettled(starting);
  return Promise.all(starting);
}

/**
 * Races a job over both hosts, half of the racers on each. At each point of the job all racers of both meet before any goes
 * on.
 */
export async function race<Params, Result>(
  hosts: TwoHosts,
  job: Job<Params, Result>,
  params: Params,
  racers = RACERS,
): Promise<readonly Ended<Result>[]> {
  const count = racers / hosts.length;
  const runs = hosts.map((host, index) => host.start(job, params, { first: index * count, count }));
  for (const point of job.points) {
    // Racers who have all failed already meet nobody.
    await Promise.all(runs.map((run) => Promise.race([run.reached(point), run.ended])));
    for (const run of runs) run.pass(point);
  }
  return (await Promise.all(runs.map(({ ended }) => ended))).flat();
}

/** What all racers answered. @throws AssertionError  One of them failed. */
export function values<Result>(ended: readonly Ended<Result>[]): readonly Result[] {
  return ended.map((one) => {
    if ('error' in one) assert.fail(`a racer failed: ${JSON.stringify(one.error)}`);
    return one.value;
  });
}

/** What the only racer answered. @throws AssertionError  It failed. */
export async function onlyValue<Result>(run: {
  readonly ended: Promise<readonly Ended<Result>[]>;
}): Promise<Result> {
  const [value] = values(await run.ended);
  assert.ok(value !== undefined, 'the racer has answered');
  return value;
}

/** How many of them are `outcome`. */
export function countOf(outcomes: readonly { readonly outcome: string }[], outcome: string): number {
  return outcomes.filter((one) => one.outcome === outcome).length;
}
