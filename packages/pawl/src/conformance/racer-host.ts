import type { Ended, Job } from './job.ts';

/** A job that racers of one host are at. */
export interface Run<Result> {
  /** Resolves when all its racers are at the point, where they stay. @throws when the run ends before. */
  reached(point: string): Promise<void>;
  pass(point: string): void;
  /** What became of each. @throws when their process ended before them. */
  readonly ended: Promise<readonly Ended<Result>[]>;
}

/** Where racers run: a process of its own, or this one. */
export interface RacerHost {
  start<Params, Result>(
    job: Job<Params, Result>,
    params: Params,
    racers?: { readonly first: number; readonly count: number },
  ): Run<Result>;
  /** To the process: SIGSTOP and SIGCONT; after SIGKILL it has ended when this resolves. */
  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): Promise<void>;
  /** Closes what its racers raced on. A process in which that does not succeed is killed. */
  end(): Promise<void>;
}
