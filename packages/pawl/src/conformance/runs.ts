import { AssertionError } from 'node:assert';
import type { Ended, Job } from './job.ts';
import type { FromRacers, ToRacers } from './messages.ts';
import type { Run } from './racer-host.ts';
import { within } from './waiting.ts';

interface State {
  readonly points: Map<string, PromiseWithResolvers<void>>;
  readonly ended: PromiseWithResolvers<readonly Ended<unknown>[]>;
  /** Set when it is over: why nobody reaches a point any more. */
  over: ((point: string) => Error) | undefined;
}

/** The runs of one host, as they are followed from here. */
export class Runs {
  readonly #send: (message: ToRacers, job?: object) => void;
  readonly #runs = new Map<number, State>();
  #count = 0;
  #gone: Error | undefined;

  constructor(send: (message: ToRacers, job?: object) => void) {
    this.#send = send;
  }

  start<Params, Result>(
    job: Job<Params, Result>,
    params: Params,
    { first, count } = { first: 0, count: 1 },
  ): Run<Result> {
    if (this.#gone !== undefined) throw this.#gone;
    const run = ++this.#count;
    const ended = settling<readonly Ended<unknown>[]>();
    const state: State = { points: new Map(), ended, over: undefined };
    this.#runs.set(run, state);
    this.#send({ kind: 'start', run, job: job.name, params, first, count }, job);
    const inTime = within(ended.promise, `the end of ${job.name}`);
    inTime.catch(() => undefined);
    return {
      reached: (point) => within(pointOf(state, point).promise, `${job.name} at "${point}"`),
      pass: (point) => this.#send({ kind: 'pass', run, point }),
      ended: inTime as Promise<readonly Ended<Result>[]>,
    };
  }

  /** Whether nobody is racing. */
  get idle(): boolean {
    return [...this.#runs.values()].every(({ over }) => over !== undefined);
  }

  told(message: FromRacers): void {
    if (message.kind !== 'reached' && message.kind !== 'ended') return;
    const state = this.#runs.get(message.run);
    if (state === undefined) return;
    if (message.kind === 'reached') {
      pointOf(state, message.point).resolve();
      return;
    }
    const { ended } = message;
    state.ended.resolve(ended);
    end(state, (point) => {
      return new AssertionError({ message: `all had ended before "${point}": ${JSON.stringify(ended)}` });
    });
  }

  gone(error: Error): void {
    this.#gone = error;
    for (const state of this.#runs.values()) {
      state.ended.reject(error);
      end(state, () => error);
    }
  }
}

function pointOf(state: State, name: string): PromiseWithResolvers<void> {
  const point = state.points.get(name) ?? settling<void>();
  state.points.set(name, point);
  if (state.over !== undefined) point.reject(state.over(name));
  return point;
}

function end(state: State, why: (point: string) => Error): void {
  state.over ??= why;
  for (const name of state.points.keys()) pointOf(state, name);
}

/** One that nobody need be waiting for when it is rejected. */
function settling<T>(): PromiseWithResolvers<T> {
  const settling = Promise.withResolvers<T>();
  settling.promise.catch(() => undefined);
  return settling;
}
