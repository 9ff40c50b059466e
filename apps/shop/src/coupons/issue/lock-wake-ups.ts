import { MisuseError } from 'pawl';

/** What is needed of a connection that does nothing but listen; a client of `ioredis` is one. */
export interface LockSubscriber {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: 'message', listener: (channel: string) => void): unknown;
  on(event: 'ready' | 'close', listener: () => void): unknown;
  readonly options: { readonly autoResubscribe?: boolean | undefined };
}

export interface LockWakeUps {
  /** Joins those of this process who wait for what `channel` tells of. The first of them begins to listen. */
  join(channel: string): LockWaiter;
  /** Wakes everybody, and lets nobody wait again. */
  close(): void;
}

export interface LockWaiter {
  /**
   * Resolves when there may be something new: at a message, of which one waiter is told; when the connection has only now
   * begun to listen, since a message may have been missed before; and in any case after `limitMs`.
   *
   * Whoever is woken must look: the others rely on it that he has the lock then, or somebody who will tell in his turn.
   */
  woken(limitMs: number): Promise<void>;
  /** The last of them stops listening. */
  leave(): void;
}

/** Those of this process who wait for the same lock. */
interface Crowd {
  members: number;
  /** Pending or true while the connection listens, or is about to; false when it has to be told again. */
  listens: Promise<boolean> | boolean;
  /** There was something new while nobody was waiting for it: the next one need not wait. */
  untold: boolean;
  readonly waiting: Set<() => void>;
}

/**
 * Wakes local waiters by messages of Redis, over one connection a process that listens only to what somebody waits for.
 *
 * Messages are a courtesy: one that is published while the connection is broken is lost. Whoever waits must be able to
 * look by himself (`limitMs`).
 *
 * @param subscriber  Made with `autoResubscribe: false`. `ioredis` would subscribe again by itself in a promise that nobody
 *   holds: when the connection breaks once more meanwhile, its rejection ends the process.
 * @throws MisuseError  The subscriber is made otherwise.
 */
export function lockWakeUps(subscriber: LockSubscriber): LockWakeUps {
  if (subscriber.options.autoResubscribe !== false) {
    throw new MisuseError('the subscriber must be made with autoResubscribe: false');
  }
  const crowds = new Map<string, Crowd>();
  let closed = false;

  function wakeAll({ waiting }: Crowd): void {
    for (const wake of [...waiting]) wake();
  }

  function listen(channel: string, crowd: Crowd): void {
    if (crowd.listens !== false) return;
    const listens = subscriber.subscribe(channel).then(
      () => true,
      () => false, // The connection tells its owner what is wrong; until it listens, everybody looks by himself.
    );
    crowd.listens = listens;
    void listens.then((does) => {
      // It may have been told again since, by another connection.
      if (crowd.listens !== listens) return;
      crowd.listens = does;
      if (!does) return;
      // Who is looking at this moment may have looked before the message that was missed.
      if (crowd.waiting.size === 0) crowd.untold = true;
      else wakeAll(crowd);
    });
  }

  subscriber.on('message', (channel) => {
    const crowd = crowds.get(channel);
    if (crowd === undefined) return;
    const [wake] = crowd.waiting;
    if (wake === undefined) crowd.untold = true;
    else wake();
  });
  subscriber.on('close', () => {
    for (const crowd of crowds.values()) crowd.listens = false;
  });
  subscriber.on('ready', () => {
    for (const [channel, crowd] of crowds) listen(channel, crowd);
  });

  return {
    join(channel) {
      const crowd = crowds.get(channel) ?? { members: 0, listens: false, untold: false, waiting: new Set() };
      crowds.set(channel, crowd);
      crowd.members++;
      return {
        woken(limitMs) {
          listen(channel, crowd);
          if (closed || crowd.untold) {
            crowd.untold = false;
            return Promise.resolve();
          }
          return new Promise((resolve) => {
            const wake = () => {
              crowd.waiting.delete(wake);
              clearTimeout(limit);
              resolve();
            };
            const limit = setTimeout(wake, limitMs);
            crowd.waiting.add(wake);
          });
        },
        leave() {
          if (--crowd.members > 0) return;
          crowds.delete(channel);
          // Where it fails, messages go on to come for which nobody waits.
          subscriber.unsubscribe(channel).catch(() => undefined);
        },
      };
    },
    close() {
      closed = true;
      for (const crowd of crowds.values()) wakeAll(crowd);
    },
  };
}
