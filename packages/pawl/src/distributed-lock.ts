import { Deadlines, type Watched } from './deadlines.ts';
import { LeaseLostError, MisuseError } from './errors.ts';
import { LeaseRenewal, RENEWALS_PER_LEASE } from './lease-renewal.ts';
import { type LockGrant, type LockPlace, type LockStore, TOKENS_PER_GRANT } from './lock-store.ts';
import { type Refused, refused } from './outcome.ts';
import { quiet } from './quiet.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';

export interface DistributedLockOptions {
  /**
   * When a lock ends by itself, in milliseconds, if nothing more is heard of the process that holds it. It is renewed every
   * third of that while the work runs. Default 10 s.
   */
  readonly leaseMs?: number;
  /**
   * How long a lock is renewed, in milliseconds; then its lease runs out. It counts from the grant, so a later piece of work
   * of the same grant has up to a third of a lease less. Default 5 min; 0 never renews.
   */
  readonly renewForMs?: number;
  /**
   * How long to wait for a lock, in milliseconds, in the order of coming within a process; processes take turns, of up to
   * sixteen pieces of work each. Default 10 s; 0 takes it only where it is free and nobody waits for it.
   */
  readonly waitMs?: number;
  /**
   * Told of what the outcome of the work does not say. Without it a lock that is lost is lost silently, but to work that looks
   * at its `lease.signal`.
   */
  readonly onEvent?: (event: LockEvent) => void;
}

/**
 * - `renewal-failed`: the store could not be asked; it is tried again until the lease is over.
 * - `lease-lost`: somebody else may hold the lock while the work still runs.
 * - `not-released`: the work has ended, and the lock stays taken until its lease is over.
 */
export interface LockEvent {
  readonly kind: 'renewal-failed' | 'lease-lost' | 'not-released';
  readonly key: string;
  readonly cause: unknown;
}

/** What the work holds. */
export interface LockLease {
  /**
   * The fencing token of this piece of work: a whole number that is greater than that of every earlier one under the same
   * key, be the store emptied or replaced meanwhile, as long as the clock of the store does not go back. Register it before
   * the first read, and check it with every write (`registerFence`, `fencedUpdate`): then it does not matter who believes to
   * hold the lock.
   */
  readonly token: number;
  /**
   * Aborted, with a `LeaseLostError`, when somebody else has the lock, or may have it: it could not be confirmed in time.
   * Look before every step that must not be taken twice, and each time through the lease
   * (`lease.signal.throwIfAborted()`): that compares the clock with the known end of the lease, while a signal that was kept
   * from before may stay as it was after a standstill until timers run. A process that stands still between the look and the
   * step is told by neither; the fence stops it.
   */
  readonly signal: AbortSignal;
}

export interface DistributedLocks {
  /**
   * Runs `work` while this process holds the lock on `key`, and gives the lock back when it has ended. End transactions in
   * `work`: what is committed after the lock was given back may be overwritten by whoever read before the commit. It is not
   * reentrant: `work` that asks for its own key waits for itself.
   *
   * `lock-timeout`: it was not granted within `waitMs`, or `close` was called; `work` did not run. Work that itself answers
   * `lock-timeout`, of a lock inside, say, cannot be told from that: give its refusal another form.
   *
   * **What it does not promise:** that nobody else runs. A lease ends while its holder stands still (a pause, a full
   * processor, a network that is cut), and a store may forget. Whatever `work` returns or throws is passed on even then,
   * because it has had its effect; `lease.signal` and `onEvent` tell of the loss, and fencing makes it harmless.
   *
   * Those of one process who want the same key stand in one line, in the order of coming: the process asks for them together,
   * and serves up to sixteen of them one after the other, those whose work begins within a third of a lease, before it queues
   * again behind the other processes. So between processes the order is that of their turns.
   *
   * @throws StoreError  The store could not be asked; `work` did not run. After `effect: 'unknown'` the lock may be taken until
   *   its lease is over. And whatever `work` throws; the lock is given back then too.
   * @throws MisuseError  The key is empty.
   * @see Gray and Cheriton, "Leases" (1989); Kleppmann, "How to do distributed locking" (2016)
   */
  run<Result>(
    key: string,
    work: (lease: LockLease) => Promise<Result>,
  ): Promise<Result | Refused<'lock-timeout'>>;
  /**
   * Refuses everybody who waits, and from now on everybody who comes. Resolves when all work that holds a lock has ended, and
   * the store is closed: `work` that awaits it waits for itself.
   */
  close(): Promise<void>;
}

export const defaultLockTimes = {
  leaseMs: 10_000,
  renewForMs: 300_000,
  waitMs: 10_000,
};

/**
 * Locks that hold over all processes which use the same store: Redis (`redisLockStore`), the sessions of a database
 * (`sqlLockStore`), or, for a single process, its memory (`memoryLockStore`). Make one for each process and store.
 *
 * @throws MisuseError  A time that is no whole number of milliseconds.
 */
export function distributedLocks(store: LockStore, options: DistributedLockOptions = {}): DistributedLocks {
  const times = checkedTimes(options);
  const settings: Settings = {
    store,
    times,
    onEvent: quiet(options.onEvent ?? (() => undefined)),
    patience: new Deadlines(times.waitMs, (waiter) => waiter.tooLate()),
    // Before the first renewal is due.
    watch: new Deadlines(times.leaseMs / RENEWALS_PER_LEASE / 2, (hold) => hold.renewFromNowOn()),
  };
  /** No Map, for the reason that `Deadlines` is none. */
  const lines: Record<string, Line> = Object.create(null);
  let underWay = 0;
  const idle = Promise.withResolvers<void>();
  let closing: Promise<void> | undefined;

  function ended(): void {
    underWay--;
    if (closing !== undefined && underWay === 0) idle.resolve();
  }

  function lineOf(key: string): Line {
    const found = lines[key];
    if (found !== undefined) return found;
    const line = new Line(key, settings, () => {
      if (lines[key] === line) delete lines[key];
    });
    lines[key] = line;
    return line;
  }

  async function close(): Promise<void> {
    for (const line of Object.values(lines)) line.dismiss();
    if (underWay > 0) await idle.promise;
    await store.close();
  }

  return {
    async run(key, work) {
      if (typeof key !== 'string' || key === '')
        throw new MisuseError('the key of a lock must be a text, and not empty');
      if (closing !== undefined) return refused('lock-timeout');
      underWay++;
      try {
        const turn = await lineOf(key).join();
        if (turn === undefined) return refused('lock-timeout');
        try {
          return await work(turn);
        } finally {
          await turn.end();
        }
      } finally {
        ended();
      }
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

interface Settings {
  readonly store: LockStore;
  readonly times: typeof defaultLockTimes;
  readonly onEvent: (event: LockEvent) => void;
  /** Those who wait. */
  readonly patience: Deadlines<Waiter>;
  /** What is held, until it has been held for so long that it must be renewed. */
  readonly watch: Deadlines<Hold>;
}

/** Somebody of this process who waits for his turn. */
interface Waiter {
  granted(turn: Turn): void;
  /** With a promise: once that has resolved. */
  refused(after?: Promise<void>): void;
  failed(error: unknown): void;
  tooLate(): void;
  patience: Watched<Waiter> | undefined;
}

/**
 * Those of this process who want one key, in their order, and what the process has in the store for all of them: a place in
 * the queue, or the lock. It is over when nobody wants the key any more; who comes then begins another.
 */
class Line {
  readonly #key: string;
  readonly #settings: Settings;
  readonly #over: () => void;
  /** In the order of their coming. */
  readonly #waiters: Waiter[] = [];
  /** Where the process stands in the queue; undefined while it holds the lock. */
  #place: LockPlace | undefined;
  /** Until the lock serves somebody, or has been given back because nobody wanted it any more. */
  #begins: Promise<void> | undefined;
  #begun = false;

  constructor(key: string, settings: Settings, over: () => void) {
    this.#key = key;
    this.#settings = settings;
    this.#over = over;
  }

  /** @returns undefined when its turn has not come in time. @throws StoreError */
  join(): Promise<Turn | undefined> {
    const { waitMs } = this.#settings.times;
    if (waitMs === 0 && this.#begun) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        granted: resolve,
        refused: (after) => resolve(after?.then(() => undefined)),
        failed: reject,
        tooLate: () => this.#tooLate(waiter),
        patience: undefined,
      };
      this.#waiters.push(waiter);
      if (waitMs > 0) waiter.patience = this.#settings.patience.add(waiter);
      if (!this.#begun) this.#queue();
    });
  }

  /** Refuses everybody who waits. */
  dismiss(): void {
    const left = this.#leave();
    this.#dismiss((waiter) => waiter.refused(left));
  }

  /** Serves who is next in line; or gives the lock to the other processes, and queues behind them, or is over. */
  async serve(hold: Hold): Promise<void> {
    const [waiter] = this.#waiters;
    if (waiter === undefined) {
      this.#over();
      return hold.release();
    }
    if (!hold.mayServe()) return this.#giveAway(hold);
    this.#delete(waiter);
    waiter.granted(new Turn(this, hold));
  }

  async #giveAway(hold: Hold): Promise<void> {
    if (this.#settings.times.waitMs > 0) return this.#await(hold.releaseAndQueue());
    // Who does not want to wait asks once.
    this.#over();
    await hold.release();
    this.#dismiss((waiter) => waiter.refused());
  }

  #queue(): void {
    this.#begun = true;
    const { store, times } = this.#settings;
    this.#await(
      store.queue(this.#key, { leaseMs: times.leaseMs, wait: times.waitMs > 0, waitMs: times.waitMs }),
    );
  }

  #await(place: LockPlace): void {
    this.#place = place;
    place.granted.then(
      (grant) => {
        // It was left in the same moment, and the lock given back with it.
        if (this.#place !== place) return;
        if (grant !== undefined) {
          this.#begins = this.#granted(grant);
          return;
        }
        this.#over();
        this.#dismiss((waiter) => waiter.refused());
      },
      (error: unknown) => {
        this.#over();
        this.#dismiss((waiter) => waiter.failed(error));
      },
    );
  }

  async #granted(grant: LockGrant): Promise<void> {
    this.#place = undefined;
    const hold = new Hold(this.#key, this.#settings, grant);
    // The lease may be half over, or be over, by the time that the process hears of it.
    if (!hold.isFresh()) await hold.confirm();
    await this.serve(hold);
  }

  #tooLate(waiter: Waiter): void {
    this.#delete(waiter);
    const trouble = this.#place?.trouble;
    const left = this.#waiters.length === 0 ? this.#leave() : undefined;
    if (trouble === undefined) waiter.refused(left);
    else waiter.failed(trouble);
  }

  #leave(): Promise<void> | undefined {
    const place = this.#place;
    if (place === undefined) return this.#begins;
    this.#place = undefined;
    this.#over();
    return place.leave();
  }

  #dismiss(tell: (waiter: Waiter) => void): void {
    for (const waiter of [...this.#waiters]) {
      this.#delete(waiter);
      tell(waiter);
    }
  }

  #delete(waiter: Waiter): void {
    if (waiter === this.#waiters[0]) this.#waiters.shift();
    else {
      const at = this.#waiters.indexOf(waiter);
      if (at > 0) this.#waiters.splice(at, 1);
    }
    if (waiter.patience !== undefined) this.#settings.patience.delete(waiter.patience);
  }
}

/** One piece of work, and what it holds. */
class Turn implements LockLease {
  readonly token: number;
  readonly #line: Line;
  readonly #hold: Hold;

  constructor(line: Line, hold: Hold) {
    this.#line = line;
    this.#hold = hold;
    this.token = hold.takeToken();
  }

  get signal(): AbortSignal {
    return this.#hold.signal;
  }

  /** Never throws. Resolves when the lock is given back, where nobody else of this process wants it. */
  end(): Promise<void> {
    return this.#line.serve(this.#hold);
  }
}

/** A grant of the store, for as long as this process has it: its lease, its renewals, its tokens. */
class Hold {
  readonly #key: string;
  readonly #settings: Settings;
  readonly #grant: LockGrant;
  #leasedAtMs: number;
  #tokensTaken = 0;
  /** Made when somebody looks at the signal, or after a while (`watch`): most locks are given back sooner. */
  #renewal: LeaseRenewal | undefined;
  #lost = false;
  #ended = false;
  /** From the first piece of work on: before that nobody needs to be told of anything. */
  #watched: Watched<Hold> | undefined;

  constructor(key: string, settings: Settings, grant: LockGrant) {
    this.#key = key;
    this.#settings = settings;
    this.#grant = grant;
    this.#leasedAtMs = grant.leasedAtMs;
    grant.onLost((cause) => {
      if (!this.#lost && !this.#ended) this.#renewed().lose('the store has told so', { cause });
    });
  }

  get signal(): AbortSignal {
    const renewal = this.#renewed();
    renewal.look();
    return renewal.signal;
  }

  /** Whether the lease has so much left that no renewal is due. */
  isFresh(): boolean {
    return performance.now() - this.#leasedAtMs <= this.#settings.times.leaseMs / RENEWALS_PER_LEASE;
  }

  /** Renews the lease before anything has been done under it; where that cannot be, it stays as old as it is. */
  async confirm(): Promise<void> {
    const sentMs = performance.now();
    try {
      if (await this.#grant.renew()) this.#leasedAtMs = sentMs;
    } catch (cause) {
      this.#tell('renewal-failed', cause);
    }
  }

  /**
   * For so many pieces of work, and for so long: then the other processes have their turn. In this time no standstill of
   * the process can have cost it the lock.
   */
  mayServe(): boolean {
    return !this.#lost && this.#tokensTaken < TOKENS_PER_GRANT && this.isFresh();
  }

  takeToken(): number {
    this.#watched ??= this.#settings.watch.add(this);
    return this.#grant.firstToken + this.#tokensTaken++;
  }

  async release(): Promise<void> {
    this.#end();
    await this.#given(this.#grant.release());
  }

  releaseAndQueue(): LockPlace {
    this.#end();
    const place = this.#grant.releaseAndQueue();
    void this.#given(place.released);
    return place;
  }

  renewFromNowOn(): void {
    this.#renewed().catchUp();
  }

  #renewed(): LeaseRenewal {
    this.#renewal ??= new LeaseRenewal({
      ...this.#settings.times,
      claimedAtMs: this.#leasedAtMs,
      renew: () => this.#grant.renew(),
      isFinishing: () => false,
      onFailed: (cause) => this.#tell('renewal-failed', cause),
      onLost: (reason) => this.#tellOfLoss(reason),
    });
    // Somebody looks at the signal of work that is over.
    if (this.#ended) this.#renewal.stop();
    return this.#renewal;
  }

  #end(): void {
    this.#ended = true;
    if (this.#watched !== undefined) this.#settings.watch.delete(this.#watched);
    this.#renewal?.stop();
  }

  async #given(released: Promise<boolean>): Promise<void> {
    try {
      if (!(await released)) this.#tellOfLoss(new LeaseLostError('the lock was not held any more'));
    } catch (cause) {
      if (this.#hasServed) this.#tell('not-released', cause);
    }
  }

  #tellOfLoss(reason: LeaseLostError): void {
    if (!this.#lost && this.#hasServed) this.#tell('lease-lost', reason);
    this.#lost = true;
  }

  /** Where nobody has worked under it, nobody need be told what became of it. */
  get #hasServed(): boolean {
    return this.#tokensTaken > 0;
  }

  #tell(kind: LockEvent['kind'], cause: unknown): void {
    this.#settings.onEvent({ kind, key: this.#key, cause });
  }
}

function checkedTimes(options: DistributedLockOptions): typeof defaultLockTimes {
  const defaults = defaultLockTimes;
  const { leaseMs = defaults.leaseMs, renewForMs = defaults.renewForMs, waitMs = defaults.waitMs } = options;
  requireMs({ leaseMs }, 1);
  requireMs({ renewForMs, waitMs }, 0);
  for (const [name, value] of Object.entries({ leaseMs, waitMs })) {
    if (value > LONGEST_TIMER_MS)
      throw new MisuseError(`${name} must be at most ${LONGEST_TIMER_MS}, got ${value}`);
  }
  return { leaseMs, renewForMs, waitMs };
}
