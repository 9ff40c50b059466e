import { type Ended, type Job, reported } from './job.ts';
import type { FromRacers, StartMessage } from './messages.ts';
import type { World } from './world.ts';

interface Point {
  arrived: number;
  told: boolean;
  readonly gate: PromiseWithResolvers<void>;
}

/** Runs racers in this process, for somebody in this one or in another. */
export class Runner {
  readonly #world: World;
  readonly #tell: (message: FromRacers) => void;
  readonly #runs = new Map<number, Map<string, Point>>();
  #over = false;

  constructor(world: World, tell: (message: FromRacers) => void) {
    this.#world = world;
    this.#tell = tell;
  }

  async start({ run, params, first, count }: StartMessage, { work }: Job<unknown, unknown>): Promise<void> {
    const points = new Map<string, Point>();
    this.#runs.set(run, points);
    let racing = count;

    // Who has ended meets nobody any more, and keeps nobody waiting.
    const tellReached = () => {
      for (const [point, state] of points) {
        if (state.told || state.arrived === 0 || state.arrived < racing) continue;
        state.told = true;
        this.#tell({ kind: 'reached', run, point });
      }
    };
    const race = async (index: number): Promise<Ended<unknown>> => {
      const meet = async (name: string) => {
        if (this.#over) return;
        const point = pointOf(points, name);
        point.arrived++;
        tellReached();
        await point.gate.promise;
      };
      try {
        return { value: await work({ world: this.#world, index, meet }, params) };
      } catch (error) {
        return { error: reported(error) };
      } finally {
        racing--;
        tellReached();
      }
    };
    const ended = await Promise.all(Array.from({ length: count }, (_, index) => race(first + index)));
    this.#runs.delete(run);
    this.#tell({ kind: 'ended', run, ended });
  }

  /** Lets those through who are at the point, or will be. */
  pass(run: number, name: string): void {
    const points = this.#runs.get(run);
    if (points !== undefined) pointOf(points, name).gate.resolve();
  }

  /** Nobody is led any more: lets everybody through at every point, so that what a case has left in the middle ends. */
  letGo(): void {
    this.#over = true;
    for (const points of this.#runs.values()) for (const { gate } of points.values()) gate.resolve();
  }
}

function pointOf(points: Map<string, Point>, name: string): Point {
  const point = points.get(name) ?? { arrived: 0, told: false, gate: Promise.withResolvers<void>() };
  points.set(name, point);
  return point;
}
