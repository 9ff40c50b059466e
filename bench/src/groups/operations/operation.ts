import type { RowTitle } from '../../report/report.ts';
import type { ServerUrls } from '../../servers.ts';

/** What is measured, opened in one process. */
export interface Operation {
  /**
   * Does it once.
   *
   * @param number  Who asks, or what for: a member, a key, an order. The same number again is the same again.
   * @returns what it came to, in a word.
   * @throws whatever goes wrong.
   */
  operate(number: number): Promise<string>;
  close(): Promise<void>;
}

/** Resolves when it is connected. */
export type OpenOperation = (urls: ServerUrls) => Promise<Operation>;

/** One row of a group of operations. A group's `contenders.ts` exports `contenderOf`, which finds it by its name. */
export interface OperationSpec extends RowTitle {
  /** Loads its client, in the process that is to use it and in no other. */
  load(): Promise<OpenOperation>;
}

/** What the load generator itself can do: nothing, in the next turn of the event loop. */
const GENERATOR = 'load generator';

export const generator: OperationSpec = {
  row: GENERATOR,
  own: false,
  settings: 'a no-op, answered in the next turn of the event loop: past this the generator is measured',
  load: async () => async () => ({
    operate: () => new Promise((resolve) => setImmediate(resolve, 'done')),
    close: async () => undefined,
  }),
};
