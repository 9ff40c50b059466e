import { startHelper } from '../../../../packages/race-lab/src/cluster/helper-process.ts';
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

/**
 * Starts a process of its own for one row, and connects it: what others of the run leave in the memory of theirs, and what
 * the compiler learnt from them, does not disturb it. It ends with the bench, and with `signal`.
 *
 * @throws as carryOut does.
 */
export async function startLoad(row: string, urls: ServerUrls, signal: AbortSignal): Promise<LoadProcess> {
  const helper = startHelper<LoadOrder, LoadAnswer>(
    new URL('./load-main.ts', import.meta.url),
    signal,
    (why) => new LoadLostError(`${row}: its process ended (${why})`),
  );
  const load: LoadProcess = {
    async carryOut(order) {
      const answer = await helper.ask(order);
      if (!answer.done) throw new LoadLostError(`${row}: ${answer.why}`);
      return answer.result as never;
    },
    end: helper.kill,
  };
  await load.carryOut({ kind: 'open', row, urls });
  return load;
}
