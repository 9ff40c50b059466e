import type { World } from './world.ts';

/** One contender, among others of its own process and of the other one. */
export interface Racer {
  readonly world: World;
  /** From 0, over both processes. */
  readonly index: number;
  /** Waits until all racers are there, and whoever leads the race lets them pass. */
  meet(point: string): Promise<void>;
}

/** What racers may be told to do. Parameters and results travel between processes as JSON. */
export interface Job<Params, Result> {
  readonly name: string;
  /** Where all meet, in this order, when it is raced. */
  readonly points: readonly string[];
  work(racer: Racer, params: Params): Promise<Result>;
}

export function job<Params, Result>(
  name: string,
  points: readonly string[],
  work: Job<Params, Result>['work'],
): Job<Params, Result> {
  return { name, points, work };
}

/** What became of one racer. */
export type Ended<Result> = { readonly value: Result } | { readonly error: ReportedError };

/** An error of another process: what is decided by, and what a reader wants to know. */
export interface ReportedError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly effect: string | undefined;
}

export function reported(error: unknown): ReportedError {
  const { name, message, code, effect } = (error ?? {}) as Partial<Record<keyof ReportedError, unknown>>;
  const text = (value: unknown) => (value === undefined ? undefined : String(value));
  return {
    name: text(name) ?? 'Error',
    message: text(message) ?? String(error),
    code: text(code),
    effect: text(effect),
  };
}
