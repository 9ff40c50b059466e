import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import { HeldRows, type RowRequest } from './held-rows.ts';
import { batched } from './observe.ts';
import { type Refused, refused, type Settled } from './outcome.ts';
import type { Decision, InterimDecision, SqlPort, SqlResult, SqlStatement } from './ports.ts';
import { LONGEST_TIMER_MS, nextTurn } from './timers.ts';
import {
  type ConflictRetry,
  defaultConflictRetry,
  isConflict,
  pauseMs,
  readThenWrite,
  requireRetry,
} from './transaction.ts';

/** Somebody else has the row that the item is about: it waits for it apart from the batch. */
export const HELD = 'held';

/** What a batch comes to. */
export interface BatchDecision<Result> {
  readonly writes: readonly SqlStatement[];
  /** One for each item, in their order, by the results of `writes`. */
  readonly outcomes: (written: readonly SqlResult[]) => readonly (Result | typeof HELD)[];
}

/** What a batch comes to that nothing is read for. */
export interface OptimisticDecision<Result> extends BatchDecision<Result> {
  /** Nobody is passed over. */
  readonly outcomes: (written: readonly SqlResult[]) => readonly Result[];
}

/** Where what is written next depends on what the database made of `writes`. */
export interface InterimBatchDecision<Result> {
  readonly writes: readonly SqlStatement[];
  /** Costs one more round trip. */
  readonly next: (written: readonly SqlResult[]) => BatchDecision<Result> | InterimBatchDecision<Result>;
}

/**
 * What the requests of one kind do together. Everything is decided here, from what was read under the locks of the batch:
 * what is written must be what was decided, whoever writes it.
 */
export interface GroupWork<Item, Result extends Settled> {
  /** What the item is about, and waits for where somebody else has it. */
  keyOf(item: Item): string;
  /** How much the item adds to a batch, in bytes; about. Absent: next to nothing. */
  sizeOf?(item: Item): number;
  /**
   * Locks what the items are about, *in the order of their keys*, and then reads what decides. Locks also the parents that foreign keys of
   * what is written will lock: a batch that waits for one of them waits for all its callers. Without `wait` rows that somebody else
   * has are passed over (`SKIP LOCKED`); with `wait`, which all items with one key come with, they are waited for.
   *
   * What is read together with the lock is, on PostgreSQL, what was there *before* the wait, but for the locked rows themselves: read
   * in later statements than the one that locks.
   */
  read(items: readonly Item[], wait: boolean): readonly SqlStatement[];
  /**
   * Decides about one item after the other, each as if those before it had been done: the same key twice is two requests. `held`, and
   * nothing written, for an item whose row was passed over; and where the result of a write shows that somebody came in between.
   *
   * Must not change anything outside: it runs again where the batch is split or tried again.
   *
   * @param waited  As `wait` of `read`: nothing was passed over, and a row that was not found is not there.
   */
  decide(
    items: readonly Item[],
    read: readonly SqlResult[],
    waited: boolean,
  ): BatchDecision<Result> | InterimBatchDecision<Result>;
  /**
   * What the items come to where all is as it usually is, in statements that see to it themselves, and fail where it is not so: then
   * nothing was committed, and they are read for and decided as always. It saves a round trip, and the reading. It may fail for any
   * reason, but nobody is passed over. Must not wait for a row of others for longer than a moment, and not change anything outside.
   * Undefined: not for these.
   *
   * @see Kung and Robinson, "On Optimistic Methods for Concurrency Control" (1981): to go on as if nobody were in the way, and to check
   *   before the commit
   */
  optimistic?(items: readonly Item[]): OptimisticDecision<Result> | undefined;
  /** What the item's caller is told where the answer to the batch's COMMIT was lost: `unknown`, to be resolved by reading. */
  unknown(item: Item, cause: unknown): Result;
}

export interface GroupCommitOptions {
  /** What the group is called by whoever watches: a word of the program. */
  readonly name: string;
  /** `false`: every item has a transaction of its own, and waits for its rows. What it comes to is the same. Default: true. */
  readonly together?: boolean;
  /** Most items in a transaction. Default: 512. */
  readonly maxBatch?: number;
  /** Most bytes in a transaction, by `sizeOf`; what is larger goes alone. Default: 1 MiB. */
  readonly maxBatchBytes?: number;
  /**
   * Most of those that wait that go in a transaction, as a part of them, where they are more than 32. Less than 1 where each goes through two
   * groups: all that are in a batch of the one come to the other together, so that they walk in step, and the process and the database
   * wait for one another in turn. In two halves, each is at work while the other is. Default: 1.
   */
  readonly maxShare?: number;
  /** Most items that wait; whoever comes then is refused, `overloaded`. Default: 16,384. */
  readonly maxWaiting?: number;
  /**
   * How long to wait for a row that somebody else has, in milliseconds, at least 1; then `lock-timeout`. Where many insertions wait on MySQL, which
   * counts whole seconds, the last of them are told later by as many as there are rows for each of `maxHeldKeys`. Default: 5,000.
   */
  readonly lockWaitMs?: number;
  /**
   * How many rows that others have are waited for at once, each with a connection, for a second; then it is the turn of those that wait
   * for their turn. Default: 4.
   */
  readonly maxHeldKeys?: number;
  /** After deadlocks and serialization failures of a batch. Default: `defaultConflictRetry`. */
  readonly retry?: ConflictRetry;
}

export const defaultGroupCommit = {
  together: true,
  maxBatch: 512,
  maxBatchBytes: 1_048_576,
  maxShare: 1,
  maxWaiting: 16_384,
  lockWaitMs: 5_000,
  maxHeldKeys: 4,
  retry: defaultConflictRetry,
} as const satisfies Omit<Required<GroupCommitOptions>, 'name'>;

export interface GroupCommit<Item, Result extends Settled> {
  /**
   * Has the item decided and committed, together with those that come at the same time.
   *
   * Refused besides what the work refuses: `overloaded`, too many wait; `lock-timeout`, somebody has had its row for `lockWaitMs`;
   * `contended`, its batch met conflicts as often as it was tried. Nothing took effect then.
   *
   * @throws StoreError   `effect: 'none'`: nothing took effect. A COMMIT whose answer was lost is what `unknown` of the work says.
   */
  submit(item: Item): Promise<Result | Refused<GroupRefusal>>;
}

export type GroupRefusal = 'overloaded' | 'lock-timeout' | 'contended';

interface Entry<Item, Result> extends RowRequest {
  readonly item: Item;
  readonly bytes: number;
  resolve(result: Result | Refused<GroupRefusal>): void;
  reject(error: unknown): void;
}

/**
 * How long a row is waited for before others have their turn, in milliseconds: with as many rows that are stuck as may be waited for at
 * once, those that are held for a moment would wait as long as these. MySQL counts whole seconds.
 */
const HELD_TURN_MS = 1_000;
/** So many are not parted. */
const WHOLE_BATCH = 32;
/** Of all that may wait, how many may for one row: those who ask for others must not be refused for its sake. */
const LONGEST_LINE = 0.25;
/** How many are refused alone, one after the other and nobody served between them, until the others of a batch are refused as they were. */
const MOST_REFUSED_ALONE = 16;
/**
 * After this many batches at most one is tried optimistically again: where it fails each time that is what it costs, one transaction among
 * so many.
 */
const MOST_PESSIMISTIC = 64;

/**
 * Callers share a commit. While one transaction is in flight, the requests that arrive form the next batch; one that finds none in
 * flight begins at once. So a batch is as large as the database is slow, there is no timer, and whoever comes alone waits for nobody.
 *
 * *Every caller has his own outcome*, as if his transaction had been his own: some order of the batch, one by one, explains all of
 * them. A batch that fails as a whole (a value that the database refuses) is split until whoever spoils it stands alone. Rows that
 * somebody else has are passed over, and waited for apart, one transaction for each of them, so that they hold up nobody but those who
 * ask for them. If the answer to a COMMIT is lost, each of its callers is told `unknown`.
 *
 * It protects nothing by itself: the locks and the conditions of the work do, against batches of other processes and against those who
 * come without a group. What dies with the process is what was not acknowledged, and each batch took effect whole or not at all.
 *
 * Cost: two round trips and one commit for each batch, where the port has `readThenWrite`; one where `optimistic` holds. One connection, and one more for each row
 * that is waited for. Give it a pool for itself, lest it wait behind whoever has connections for longer.
 *
 * @throws MisuseError  An option. Nothing was begun.
 * @see DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (1984), on group commit
 */
export function groupCommit<Item, Result extends Settled>(
  sql: SqlPort,
  work: GroupWork<Item, Result>,
  options: GroupCommitOptions,
): GroupCommit<Item, Result> {
  const settings = { ...defaultGroupCommit, ...options };
  requireSettings(settings);
  return new Group(sql, work, settings);
}

class Group<Item, Result extends Settled> implements GroupCommit<Item, Result> {
  readonly #sql: SqlPort;
  readonly #work: GroupWork<Item, Result>;
  readonly #settings: Required<GroupCommitOptions>;
  #queue: Entry<Item, Result>[] = [];
  readonly #held: HeldRows<Entry<Item, Result>>;
  /** How many batches are not tried optimistically now, and how many after the next that fails. */
  #pessimistic = { left: 0, next: 1 };
  /** All that have no outcome yet and are in no transaction. */
  #waiting = 0;
  #running = false;
  /** The latest batch was of one, and took a turn of the event loop at least. */
  #wasAlone = false;

  constructor(sql: SqlPort, work: GroupWork<Item, Result>, settings: Required<GroupCommitOptions>) {
    this.#sql = sql;
    this.#work = work;
    this.#settings = settings;
    const { lockWaitMs, maxHeldKeys, maxWaiting, together } = settings;
    this.#held = new HeldRows({
      ...{ lockWaitMs, maxHeldKeys, longestLine: maxWaiting * LONGEST_LINE, sinceArrival: !together },
      commit: async (line, waits) => {
        const batch = this.#take(line, 1);
        // Whose time is over gets what is free by now.
        (await this.#commit(batch, waits && this.#waitMs(batch) > 0))();
        return batch;
      },
      giveBack: (line) => {
        this.#queue = [...line, ...this.#queue];
        if (line.length > 0) this.#begin();
      },
    });
  }

  submit(item: Item): Promise<Result | Refused<GroupRefusal>> {
    if (this.#waiting >= this.#settings.maxWaiting) return Promise.resolve(refused('overloaded'));
    return new Promise((resolve, reject) => {
      const key = this.#work.keyOf(item);
      const bytes = this.#work.sizeOf?.(item) ?? 0;
      const entry = {
        item,
        key,
        bytes,
        arrivedAtMs: performance.now(),
        heldAtMs: undefined,
        resolve,
        reject,
      };
      if (this.#settings.together) this.#enqueue(entry);
      else void this.#commitAlone(entry);
    });
  }

  async #commitAlone(entry: Entry<Item, Result>): Promise<void> {
    this.#waiting++;
    (await this.#commit([entry], true))();
    this.#waiting--;
  }

  #enqueue(entry: Entry<Item, Result>): void {
    this.#waiting++;
    if (this.#joinsLine(entry, entry.arrivedAtMs)) return;
    this.#queue.push(entry);
    this.#begin();
  }

  /** Or is refused, as the line is full. */
  #joinsLine(entry: Entry<Item, Result>, heldAtMs: number): boolean {
    const place = this.#held.join(entry, heldAtMs);
    if (place === 'full') {
      this.#waiting--;
      entry.resolve(refused('overloaded'));
    }
    return place !== 'free';
  }

  #begin(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    let tell = nothing;
    do {
      // Whoever comes in the same turn of the event loop comes along; whoever came alone the last time does not wait for them.
      const isAlone = this.#queue.length === 1 && this.#wasAlone;
      await (isAlone ? undefined : nextTurn());
      const batch = this.#take(this.#queue, this.#settings.maxShare);
      const committed = batch.length > 0 ? this.#commit(batch, false) : undefined;
      // While the database is at the next: what callers make of their outcomes takes about as long as it does.
      const tellLast = tell;
      let turned = false;
      setImmediate(() => {
        turned = true;
        tellLast();
      });
      tell = (await committed) ?? nothing;
      // Where a batch fails at once, whoever asks again at once would keep all others from their turn.
      this.#wasAlone = batch.length === 1 && turned;
    } while (this.#queue.length > 0);
    this.#running = false;
    tell();
  }

  /** The next batch of a queue. */
  #take(queue: Entry<Item, Result>[], maxShare: number): Entry<Item, Result>[] {
    const { maxBatch, maxBatchBytes, name } = this.#settings;
    const part = Math.max(WHOLE_BATCH, Math.ceil(queue.length * maxShare));
    let size = Math.min(queue.length, maxBatch, part);
    let bytes = 0;
    for (let index = 0; index < size; index++) {
      bytes += queue[index]?.bytes ?? 0;
      if (bytes > maxBatchBytes && index > 0) size = index;
    }
    const batch = queue.splice(0, size);
    this.#waiting -= size;
    const [oldest] = batch;
    if (oldest !== undefined) {
      const waitedMs = () => performance.now() - oldest.arrivedAtMs;
      batched(this.#sql.dialect.name, { group: name, size, waitedMs, left: this.#waiting });
    }
    return batch;
  }

  /**
   * Never rejects: whatever becomes of it is told to the callers.
   *
   * @returns tells them, where each has an outcome. Where not, the others have been told, or wait.
   */
  async #commit(batch: readonly Entry<Item, Result>[], wait: boolean, split?: Split): Promise<() => void> {
    const { retry } = this.#settings;
    let outcomes: Outcomes<Result>;
    let foundKeys = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const isFirst = attempt === 1 && split === undefined;
        outcomes =
          (isFirst && !wait ? await this.#tryOptimistic(batch) : undefined) ??
          (await this.#transact(batch, wait));
        break;
      } catch (error) {
        // A key that was not looked for, or that somebody has inserted since, is there when it is looked for again, at once.
        if (isCode(error, 'DUPLICATE_KEY') && !foundKeys) {
          foundKeys = true;
          continue;
        }
        if (!isConflict(error) || attempt >= retry.attempts) {
          await this.#failed(batch, wait, error, split);
          return nothing;
        }
      }
      await sleep(pauseMs(retry, attempt + 1));
    }
    if (split !== undefined) split.refusedAlone = 0;
    const settle = () => this.#settle(batch, outcomes);
    if (!(outcomes instanceof Broken) && !outcomes.includes(HELD)) return settle;
    // Nobody must come between those who wait for their row and those who ask for it next.
    settle();
    return nothing;
  }

  #transact(batch: readonly Entry<Item, Result>[], wait: boolean): Promise<Outcomes<Result>> {
    const items = batch.map(({ item }) => item);
    const { dialect } = this.#sql;
    const reads = this.#work.read(items, wait);
    const limited = wait ? [dialect.limitLockWait(Math.max(1, this.#waitMs(batch))), ...reads] : reads;
    const decisionOf = (
      decided: BatchDecision<Result> | InterimBatchDecision<Result>,
    ): Decision<Outcomes<Result>> | InterimDecision<Outcomes<Result>> => {
      if ('next' in decided) {
        return { writes: decided.writes, next: (written) => decisionOf(decided.next(written)) };
      }
      const { writes, outcomes } = decided;
      // A port that rolls back what has nothing to write restores the limit with that, and no COMMIT is waited for.
      const restores = wait && (writes.length > 0 || this.#sql.readThenWrite === undefined);
      return {
        writes: restores ? [...writes, dialect.restoreLockWait] : writes,
        result: (written) => outcomesFrom(outcomes, restores ? written.slice(0, -1) : written, items.length),
      };
    };
    return readThenWrite(this.#sql, limited, (read) =>
      decisionOf(this.#work.decide(items, wait ? read.slice(1) : read, wait)),
    );
  }

  /** @returns undefined: nothing took effect. */
  async #tryOptimistic(batch: readonly Entry<Item, Result>[]): Promise<Outcomes<Result> | undefined> {
    if (this.#pessimistic.left > 0) {
      this.#pessimistic.left--;
      return undefined;
    }
    try {
      const decided = this.#work.optimistic?.(batch.map(({ item }) => item));
      if (decided === undefined) return undefined;
      const { writes, outcomes } = decided;
      const settled = await readThenWrite(this.#sql, [], () => ({
        writes,
        result: (written) => outcomesFrom(outcomes, written, batch.length),
      }));
      this.#pessimistic.next = 1;
      return settled;
    } catch (error) {
      if (!(error instanceof StoreError) || error.effect === 'unknown' || isNobodysFault(error)) throw error;
      const { next } = this.#pessimistic;
      this.#pessimistic = { left: next, next: Math.min(2 * next, MOST_PESSIMISTIC) };
      return undefined;
    }
  }

  /** How long these may wait for their row now. Those who come without a group have no others to let pass. */
  #waitMs([oldest]: readonly Entry<Item, Result>[]): number {
    const { lockWaitMs, together } = this.#settings;
    if (!together) return lockWaitMs;
    const waitedMs = performance.now() - (oldest?.heldAtMs ?? performance.now());
    return Math.ceil(Math.min(HELD_TURN_MS, lockWaitMs - waitedMs));
  }

  #settle(batch: readonly Entry<Item, Result>[], outcomes: Outcomes<Result>): void {
    if (outcomes instanceof Broken) {
      for (const entry of batch) this.#tellUnknown(entry, outcomes.cause);
      return;
    }
    const held: Entry<Item, Result>[] = [];
    batch.forEach((entry, index) => {
      const outcome = outcomes[index] as Result | typeof HELD;
      if (outcome === HELD) held.push(entry);
      else entry.resolve(outcome);
    });
    if (held.length > 0) this.#hold(held);
  }

  async #failed(
    batch: readonly Entry<Item, Result>[],
    wait: boolean,
    error: unknown,
    split: Split = { refusedAlone: 0 },
  ): Promise<void> {
    if (error instanceof StoreError && error.effect === 'unknown') {
      for (const entry of batch) this.#tellUnknown(entry, error);
      return;
    }
    if (isConflict(error)) {
      for (const entry of batch) entry.resolve(refused('contended'));
      return;
    }
    // Without waiting for rows, what waits is an insertion, for somebody who has inserted the same. Whose it is nobody says: each is tried
    // apart, and then waits, so that those who are in nobody's way are not behind those who wait.
    if (isCode(error, 'LOCK_TIMEOUT')) return this.#hold(batch, !wait && batch.length > 1);
    if (batch.length === 1) split.refusedAlone++;
    const isNobodys = isNobodysFault(error) || split.refusedAlone >= MOST_REFUSED_ALONE;
    if (isNobodys || batch.length === 1) {
      for (const entry of batch) entry.reject(error);
      return;
    }
    const half = batch.length >> 1;
    for (const part of [batch.slice(0, half), batch.slice(half)]) {
      if (split.refusedAlone >= MOST_REFUSED_ALONE) for (const entry of part) entry.reject(error);
      else (await this.#commit(part, wait, split))();
    }
  }

  #tellUnknown(entry: Entry<Item, Result>, cause: unknown): void {
    try {
      entry.resolve(this.#work.unknown(entry.item, cause));
    } catch (error) {
      entry.reject(error);
    }
  }

  /** Somebody else has their rows. */
  #hold(entries: readonly Entry<Item, Result>[], areUnsure = false): void {
    const rows = this.#held.size;
    this.#waiting += this.#held.hold(entries, areUnsure);
    if (this.#held.size === rows) return;
    // Those who came for a row while it was found to be another's.
    const now = performance.now();
    this.#queue = this.#queue.filter((entry) => !this.#joinsLine(entry, now));
  }
}

/** Whatever is wrong is so for all of a batch, and to ask again for each of them would make it worse. */
const NOBODYS_FAULT = ['UNAVAILABLE', 'CONNECTION_LOST', 'STATEMENT_CANCELED'] as const;

function isNobodysFault(error: unknown): boolean {
  return NOBODYS_FAULT.some((code) => isCode(error, code));
}

/** A batch that is being split. */
interface Split {
  /** In a row. */
  refusedAlone: number;
}

/** The batch was committed, and nobody knows what it came to. */
class Broken {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

type Outcomes<Result> = readonly (Result | typeof HELD)[] | Broken;

/** It may be committed: what throws here must not have it done once more. */
function outcomesFrom<Result>(
  outcomes: BatchDecision<Result>['outcomes'],
  written: readonly SqlResult[],
  items: number,
): Outcomes<Result> {
  try {
    const settled = outcomes(written);
    if (settled.length === items) return settled;
    return new Broken(new MisuseError(`${settled.length} outcomes for ${items} items`));
  } catch (error) {
    return new Broken(error);
  }
}

function nothing(): void {
  // Nobody waits to be told.
}

function isCode(error: unknown, code: StoreError['code']): boolean {
  return error instanceof StoreError && error.code === code;
}

function requireSettings(settings: Required<GroupCommitOptions>): void {
  const { maxBatch, maxBatchBytes, maxShare, maxWaiting, maxHeldKeys, lockWaitMs, retry } = settings;
  for (const [name, value] of Object.entries({
    maxBatch,
    maxBatchBytes,
    maxWaiting,
    maxHeldKeys,
    lockWaitMs,
  })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new MisuseError(`${name} must be a whole number ≥ 1, got ${value}`);
    }
  }
  if (!(maxShare > 0 && maxShare <= 1)) {
    throw new MisuseError(`maxShare must be above 0, and 1 at most, got ${maxShare}`);
  }
  if (lockWaitMs > LONGEST_TIMER_MS) {
    throw new MisuseError(`lockWaitMs must be at most ${LONGEST_TIMER_MS}, got ${lockWaitMs}`);
  }
  requireRetry(retry);
}
