import { explore } from './explore.ts';
import { mutants } from './mutants/index.ts';
import type { Task, TaskAnswer } from './workers.ts';

/** Explores what it is told to, and ends with whoever tells it. */
process.on('message', ({ seed, schedules, mutant: name }: Task) => {
  const mutant = mutants.find((candidate) => candidate.name === name);
  explore({ seed, schedules, mutant }).then(
    (explored) => answer({ explored }),
    (error: unknown) => answer({ failure: error instanceof Error ? `${error.stack}` : String(error) }),
  );
});

function answer(message: TaskAnswer): void {
  process.send?.(message);
}
