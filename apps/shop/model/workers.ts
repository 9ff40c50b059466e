import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Explored } from './explore.ts';

/** What a worker is asked for; a mutant goes by its name. */
export interface Task {
  readonly seed: number;
  readonly schedules: number;
  readonly mutant?: string;
}

export type TaskAnswer = { readonly explored: Explored } | { readonly failure: string };

const WORKER = join(import.meta.dirname, 'worker-main.ts');

/** Processes that explore beside each other: promises of one process run on one processor. */
export class Workers {
  readonly #workers: readonly ChildProcess[];

  constructor(count: number) {
    this.#workers = Array.from({ length: count }, () => fork(WORKER));
  }

  /**
   * Has each task done, and tells of each as it is done.
   *
   * @param isEnough  Asked before each: no more are begun once it is so.
   * @throws Error  A worker failed, or ended.
   */
  async run(
    tasks: readonly Task[],
    told: (task: Task, explored: Explored) => void,
    isEnough: () => boolean = () => false,
  ): Promise<void> {
    const left = [...tasks];
    const runOn = async (worker: ChildProcess) => {
      for (let task = left.shift(); task !== undefined && !isEnough(); task = left.shift()) {
        const answer = await ask(worker, task);
        if ('failure' in answer) throw new Error(answer.failure);
        told(task, answer.explored);
      }
    };
    await Promise.all(this.#workers.map(runOn));
  }

  close(): void {
    for (const worker of this.#workers) worker.disconnect();
  }
}

function ask(worker: ChildProcess, task: Task): Promise<TaskAnswer> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('a worker has ended'));
    worker.once('exit', ended);
    worker.once('message', (answer) => {
      worker.off('exit', ended);
      resolve(answer as TaskAnswer);
    });
    worker.send(task);
  });
}
