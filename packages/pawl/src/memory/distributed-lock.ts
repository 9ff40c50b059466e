import { LeaseLostError } from '../errors.ts';
import {
  type LockAsk,
  type LockGrant,
  type LockPlace,
  type LockStore,
  TOKENS_PER_GRANT,
} from '../lock-store.ts';

/** Those who stand in line for one key; the first of them holds it. */
type Line = Set<MemoryPlace>;

/**
 * Locks in the memory of this process, the mutex: for tests, and for a service that will never have a second instance. Two
 * `distributedLocks` over one store compete like two processes; who waits for a key is served in the order of arrival, and
 * nothing is kept of a key that nobody wants.
 *
 * A lease ends here as it does elsewhere, when it is not renewed: a renewal that is due goes before it, also after a
 * standstill of the process. Tokens are the time of this machine in microseconds, or one more than the last.
 *
 * **What it does not promise:** anything to another process, or after the end of this one.
 */
export function memoryLockStore(): LockStore {
  const lines = new Map<string, Line>();
  let lastToken = 0;

  function takeTokens(): number {
    const first = Math.max(lastToken, Date.now() * 1_000) + 1;
    lastToken = first + TOKENS_PER_GRANT - 1;
    return first;
  }

  function queue(key: string, ask: LockAsk): MemoryPlace {
    const line = lines.get(key) ?? new Set();
    const leave = (place: MemoryPlace): boolean => {
      const [holder] = line;
      const held = holder === place;
      if (!line.delete(place)) return false;
      const [next] = line;
      if (next === undefined) lines.delete(key);
      else if (held) next.grant(takeTokens());
      return held;
    };
    const place = new MemoryPlace(ask, leave, () => queue(key, { ...ask, wait: true }));
    if (line.size > 0 && !ask.wait) place.refuse();
    else {
      lines.set(key, line);
      line.add(place);
      if (line.size === 1) place.grant(takeTokens());
    }
    return place;
  }

  return { kind: 'memory', queue, close: async () => undefined };
}

/** A place in line, and the lock when it is the first. */
class MemoryPlace implements LockPlace {
  readonly trouble = undefined;
  readonly #ask: LockAsk;
  /** @returns whether it held the lock, which goes to who is next. */
  readonly #leaveLine: (place: MemoryPlace) => boolean;
  readonly #queueAgain: () => MemoryPlace;
  readonly #granted = Promise.withResolvers<LockGrant | undefined>();
  #held = false;
  #leaseEnd: NodeJS.Timeout | undefined;
  #overdue: NodeJS.Immediate | undefined;
  #onLost: ((cause: unknown) => void) | undefined;

  constructor(ask: LockAsk, leaveLine: (place: MemoryPlace) => boolean, queueAgain: () => MemoryPlace) {
    this.#ask = ask;
    this.#leaveLine = leaveLine;
    this.#queueAgain = queueAgain;
  }

  get granted(): Promise<LockGrant | undefined> {
    return this.#granted.promise;
  }

  grant(firstToken: number): void {
    this.#held = true;
    this.#lease();
    this.#granted.resolve({
      firstToken,
      leasedAtMs: performance.now(),
      renew: async () => {
        if (this.#held) this.#lease();
        return this.#held;
      },
      release: async () => this.#giveBack(),
      releaseAndQueue: () => {
        // First into the line: who waits already is before it, and its own place goes.
        const place = this.#queueAgain();
        const released = Promise.resolve(this.#giveBack());
        return { granted: place.granted, trouble: undefined, leave: () => place.leave(), released };
      },
      onLost: (told) => {
        this.#onLost = told;
      },
    });
  }

  refuse(): void {
    this.#granted.resolve(undefined);
  }

  async leave(): Promise<void> {
    this.#giveBack();
  }

  #giveBack(): boolean {
    this.#endLease();
    this.#held = false;
    return this.#leaveLine(this);
  }

  #lease(): void {
    this.#endLease();
    // Timers that are overdue together run in any order; after all of them it is known who has renewed.
    this.#leaseEnd = setTimeout(() => {
      this.#overdue = setImmediate(() => this.#lose());
      this.#overdue.unref();
    }, this.#ask.leaseMs);
    // What else keeps the process alive decides how long it lives.
    this.#leaseEnd.unref();
  }

  #endLease(): void {
    clearTimeout(this.#leaseEnd);
    clearImmediate(this.#overdue);
  }

  #lose(): void {
    this.#giveBack();
    this.#onLost?.(new LeaseLostError('the lease is over: it was not renewed in time'));
  }
}
