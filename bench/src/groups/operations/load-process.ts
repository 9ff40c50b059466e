import { startHelper } from '../../../../packages/race-lab/src/cluster/helper-process.ts';
import type { ServerUrls } from '../../servers.ts';
import type { LoadAnswer, LoadOrder, LoadResults } from './load-messages.ts';

/** A process that does one row's operation. */
export interface LoadProcess {
  /** One order at a time. @throws LoadLostError, and the signal's reason; the process has ended by then. */
  carryOut<Kind extends Exclude<LoadOrder['kind'], 'open'>>(
    order: Extract<LoadOrder, { kind: Kind }>,
  ): Promise<LoadResults[Kind]>;
  /** Ends it at once. */
  end(): void;
}

/** The process of a row could not do what it was told to, or has ended by itself. */
class LoadLostError extends Error {
  override readonly name = 'LoadLostError';
  readonly code = 'LOAD_LOST';
}

export interface LoadPlan {
  /** The group's `contenders.ts`. */
  readonly contenders: URL;
  readonly row: string;
  readonly urls: ServerUrls;
}

/**
 * Starts a process of its own for one row, and connects it: what others of the run leave in the memory of theirs, and what
 * the compiler learnt from them, does not disturb it. It ends with the bench, and with `signal`.
 *
 * @throws as carryOut does.
 */
export async function startLoad(
  { contenders, row, urls }: LoadPlan,
  signal: AbortSignal,
): Promise<LoadProcess> {
  const helper = startHelper<LoadOrder, LoadAnswer>(
    new URL('./load-main.ts', import.meta.url),
    signal,
    (why) => new LoadLostError(`${row}: its process ended (${why})`),
  );
  const ask = async (order: LoadOrder) => {
    const answer = await helper.ask(order);
    if (!answer.done) throw new LoadLostError(`${row}: ${answer.why}`);
    return answer.result as never;
  };
  await ask({ kind: 'open', contenders: contenders.href, row, urls });
  return { carryOut: ask, end: helper.kill };
}
