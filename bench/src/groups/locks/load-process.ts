import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { hostEnv } from '../../../../packages/race-lab/src/cluster/host-env.ts';
import type { ServerUrls } from '../../servers.ts';
import type { LoadAnswer, LoadOrder, LoadResults } from './load-messages.ts';

/** A process that takes locks of one row. */
export interface LoadProcess {
  /** One order at a time. @throws LoadLostError, and the signal's reason; the process has ended by then. */
  carryOut<Kind extends LoadOrder['kind']>(
    order: Extract<LoadOrder, { kind: Kind }>,
  ): Promise<LoadResults[Kind]>;
  /** Ends it at once: what it holds is its own affair and the servers'. */
  end(): void;
}

/** The process of a row could not do what it was told to, or has ended by itself. */
export class LoadLostError extends Error {
  override readonly name = 'LoadLostError';
  readonly code = 'LOAD_LOST';
}

const LAST_WORDS_LIMIT = 2_000;

/**
 * Starts a process of its own for one row, and connects it: what others of the run leave in the memory of theirs, and what
 * the compiler learnt from them, does not disturb it. It ends with the bench, and with `signal`.
 *
 * @throws as carryOut does.
 */
export async function startLoad(row: string, urls: ServerUrls, signal: AbortSignal): Promise<LoadProcess> {
  signal.throwIfAborted();
  const child = fork(fileURLToPath(new URL('./load-main.ts', import.meta.url)), {
    execArgv: [],
    env: hostEnv(),
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.on('data', (text) => {
    lastWords = `${lastWords}${text}`.slice(-LAST_WORDS_LIMIT);
  });
  const gone = new AbortController();
  const lost = (why: string) =>
    gone.abort(new LoadLostError(`${row}: its process ended (${why}): ${lastWords}`));
  child.once('error', (error) => lost(error.message));
  child.once('close', (code, killedBy) => lost(killedBy ?? `exit code ${code}`));
  const end = AbortSignal.any([signal, gone.signal]);
  const kill = () => child.kill('SIGKILL');
  end.addEventListener('abort', kill, { once: true });

  const load: LoadProcess = {
    async carryOut(order) {
      end.throwIfAborted();
      const answered = once(child, 'message', { signal: end }) as Promise<[LoadAnswer]>;
      child.send(order, () => undefined); // What cannot be sent is told by its end.
      try {
        const [answer] = await answered;
        if (!answer.done) throw new LoadLostError(`${row}: ${answer.why}`);
        return answer.result as never;
      } catch (error) {
        end.throwIfAborted();
        throw error;
      }
    },
    end: kill,
  };
  await load.carryOut({ kind: 'open', row, urls });
  return load;
}
