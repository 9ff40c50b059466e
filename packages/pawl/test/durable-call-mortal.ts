import type { Receiver } from './durable-call-receiver.ts';
import { type CallStore, type Definition, FOREVER, type InstanceOptions } from './durable-call-stage.ts';

/** A transaction whose process has died: its connection is gone, and it rolls back. */
class Died extends Error {
  override readonly name = 'Died';
}

/** The process of one instance, which dies at a step. */
export interface Mortal {
  readonly options: InstanceOptions;
  /** Resolves when it has died. */
  readonly died: Promise<'died'>;
  /** At which step it did: `settle within`. Undefined while it lives. */
  at(): string | undefined;
}

/**
 * An instance that dies at its n-th step: before or after what it asks of the store or the receiver, or within a transaction, just
 * before the COMMIT. Who is dead asks nothing more, and whoever waits for him waits for ever.
 */
export function mortal(receiver: Receiver, dieAt: number): Mortal {
  const death = Promise.withResolvers<'died'>();
  let steps = 0;
  let diedAt: string | undefined;

  /** @returns whether he is alive. */
  function step(name: string): boolean {
    if (diedAt !== undefined) return false;
    if (++steps !== dieAt) return true;
    diedAt = name;
    death.resolve('died');
    return false;
  }

  /** What is asked, with a step before and one after it. */
  const around =
    <Given extends unknown[], Result>(name: string, ask: (...given: Given) => Promise<Result>) =>
    async (...given: Given): Promise<Result> => {
      if (!step(`${name} before`)) return FOREVER;
      try {
        return await ask(...given);
      } finally {
        if (!step(`${name} after`)) await FOREVER;
      }
    };

  /** What is written in a transaction, with a step behind it. */
  const within =
    <Given extends unknown[], Result>(name: string, write: (...given: Given) => Promise<Result>) =>
    async (...given: Given): Promise<Result> => {
      const written = await write(...given);
      if (!step(`${name} within`)) throw new Died();
      return written;
    };

  const mortalStore = (store: CallStore): CallStore =>
    ({
      ...store,
      claim: around('claim', (claim) => store.claim(within('claim', claim))),
      settle: around('settle', (id, fence, decide) => store.settle(id, fence, within('settle', decide))),
      change: around('change', store.change),
      reopen: around('reopen', (attempt, decide) => store.reopen(attempt, within('reopen', decide))),
      forget: around('forget', (id, fence, give) => store.forget(id, fence, within('forget', give))),
      takeOver: around('take over', store.takeOver),
      find: around('find', store.find),
    }) as CallStore;

  const definition = (given: Definition): Partial<Definition> => ({
    send: around('send', receiver.send),
    lookUp: around('look-up', receiver.lookUp),
    ...(given.compensation === undefined
      ? {}
      : {
          compensation: {
            ...given.compensation,
            send: around('cancel', receiver.cancel),
            lookUp: around('look-up-cancel', receiver.lookUpCancel),
          },
        }),
  });

  return { options: { store: mortalStore, definition }, died: death.promise, at: () => diedAt };
}
