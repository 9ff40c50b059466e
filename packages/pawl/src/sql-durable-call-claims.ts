import type { ClaimLook, GroupedCallClaims } from './durable-call-group.ts';
import { areDistinct, distinctIdsOf, textOf } from './durable-call-ids.ts';
import type { ClaimedAttempt, DurableCall, Json, NewDurableCall } from './durable-call-record.ts';
import {
  durableCallFromRow,
  durableCallId,
  durableCallSubject,
  recordedCall,
  requireTimes,
} from './durable-call-row.ts';
import type { ClaimItem, KnownCall, Objected } from './durable-call-store.ts';
import { StoreError } from './errors.ts';
import {
  type BatchDecision,
  type GroupWork,
  HELD,
  type InterimBatchDecision,
  type OptimisticDecision,
} from './group-commit.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Row, SqlPort, SqlResult, SqlStatement } from './ports.ts';

/** How much the latest claim says of the next. */
const RECENT = 0.1;

/** With a tenth of the latest refused, of the batches of ten but a third would hold. */
const FEW = 0.01;

/** With as many of the latest refused, all are looked up at once. */
export const MOST = 0.5;

/** What the claims of a name have come to, as all of its batches see it. It decides what is read when, and nothing else. */
export class Latest {
  /** How many of the latest were refused, about, as a part of them. */
  refused = 0;
  /** Those that a look has counted already, as not refused. */
  readonly lookedAt = new WeakSet<object>();

  count(claims: number, refused: number): void {
    if (claims === 0) return;
    const kept = (1 - RECENT) ** claims;
    this.refused = this.refused * kept + (refused / claims) * (1 - kept);
  }
}

type ClaimResult<Objection extends Refused> = Done<DurableCall> | Objected<Objection> | KnownCall;

export class ClaimWork<Claim, Request extends Json, Objection extends Refused>
  implements GroupWork<ClaimItem<Claim, Request>, ClaimResult<Objection>>
{
  readonly #sql: SqlPort;
  readonly #table: string;
  readonly #name: string;
  readonly #grouped: GroupedCallClaims<Claim, Request, Objection>;
  /** Those that have been claimed before, in a transaction that was not committed: it may have been for a record that is there. */
  readonly #claimedInVain = new WeakSet<ClaimItem<Claim, Request>>();
  /** The batches of which all were looked up at once. */
  readonly #lookedUp = new WeakSet<readonly ClaimItem<Claim, Request>[]>();
  readonly #latest: Latest;

  constructor(
    sql: SqlPort,
    table: string,
    name: string,
    grouped: GroupedCallClaims<Claim, Request, Objection>,
    latest: Latest,
  ) {
    this.#sql = sql;
    this.#table = table;
    this.#name = name;
    this.#grouped = grouped;
    this.#latest = latest;
  }

  keyOf({ claim }: ClaimItem<Claim, Request>): string {
    return this.#grouped.subjectOf(claim);
  }

  sizeOf({ claim }: ClaimItem<Claim, Request>): number {
    return this.#grouped.sizeOf?.(claim) ?? 0;
  }

  /** While hardly anybody is refused: one who is has all of them read for. */
  optimistic(
    items: readonly ClaimItem<Claim, Request>[],
  ): OptimisticDecision<ClaimResult<Objection>> | undefined {
    if (
      this.#grouped.optimistic === undefined ||
      this.#latest.refused > FEW ||
      !areDistinct(items, (item) => this.keyOf(item))
    )
      return undefined;
    const decided = this.#grouped.optimistic(items.map(({ claim }) => claim));
    if (decided === undefined) return undefined;
    const calls = items.map((item, index) => {
      const call = item.record(decided.claimed[index] as ClaimedAttempt<Request>);
      requireTimes(call);
      return call;
    });
    return {
      writes: [...decided.writes, this.#insertion(calls)],
      outcomes: () => {
        this.#latest.count(calls.length, 0);
        return calls.map((call) => done(recordedCall(call)));
      },
    };
  }

  /** In the same order by all instances: who inserts a key waits for who has inserted it before, and must not wait for him in turn. */
  #insertion(calls: readonly NewDurableCall[]): SqlStatement {
    const inOrder = calls.toSorted((one, other) => (textOf(one.id) < textOf(other.id) ? -1 : 1));
    return this.#sql.dialect.durableCallBatch.insert(this.#table, inOrder);
  }

  read(items: readonly ClaimItem<Claim, Request>[], wait: boolean): readonly SqlStatement[] {
    const claims = items.map(({ claim }) => claim);
    const read = this.#grouped.read(claims, wait);
    if (this.#latest.refused < MOST) return read;
    this.#lookedUp.add(items);
    return [...read, this.#sql.dialect.durableCallBatch.find(this.#table, distinctIdsOf(items))];
  }

  /**
   * Nothing is looked up for those whose rows let them claim: most come for the first time, and where one does not, the insertion of his
   * record fails and he is looked up then. Those whose rows refuse them are looked up; while most are refused, all are, at once.
   */
  decide(
    items: readonly ClaimItem<Claim, Request>[],
    read: readonly SqlResult[],
    waited: boolean,
  ): BatchDecision<ClaimResult<Objection>> | InterimBatchDecision<ClaimResult<Objection>> {
    const { durableCallBatch } = this.#sql.dialect;
    const isLookedUp = this.#lookedUp.has(items);
    const calls = isLookedUp ? callsFrom(read.at(-1)) : nothingKnown.calls;
    const own = isLookedUp ? read.slice(0, -1) : read;
    const inVain = items.filter((item) => this.#claimedInVain.has(item));
    if (inVain.length === 0) return this.#decide(items, own, waited, { ...nothingKnown, calls, isLookedUp });
    const subjects = inVain.map(({ claim }) => this.#grouped.subjectOf(claim));
    return {
      writes: [
        durableCallBatch.find(this.#table, distinctIdsOf(inVain)),
        durableCallBatch.attempts(this.#table, this.#name, subjects),
      ],
      next: ([found, attempts]) =>
        this.#decide(items, own, waited, {
          isLookedUp,
          calls: new Map([...calls, ...callsFrom(found)]),
          attempts: new Set(
            (attempts?.rows ?? []).map((row) => attemptOf(durableCallSubject(row), Number(row.attempt))),
          ),
        }),
    };
  }

  #decide(
    items: readonly ClaimItem<Claim, Request>[],
    read: readonly SqlResult[],
    waited: boolean,
    known: Known,
  ): BatchDecision<ClaimResult<Objection>> | InterimBatchDecision<ClaimResult<Objection>> {
    const { durableCallBatch } = this.#sql.dialect;
    const decided = this.#grouped.decide(
      items.map(({ claim }) => claim),
      read,
      waited,
    );
    const calls = new Map(known.calls);
    const attempts = new Set(known.attempts);
    const claimed: NewDurableCall[] = [];
    const others: number[] = [];

    const outcomes = items.map((item, index): ClaimResult<Objection> | typeof HELD => {
      const id = textOf(item.id);
      // Somebody who came alone would be refused whatever his rows say, and answered from the record.
      if (calls.has(id)) return knownCall(calls.get(id));
      const taken = decided.claim(item.claim);
      if (taken === HELD || taken.outcome !== 'done') {
        others.push(index);
        return taken === HELD ? HELD : { ...refused(taken.reason), objection: taken };
      }
      const call = item.record(taken.value);
      requireTimes(call);
      const attempt = attemptOf(call.subject, call.attempt);
      if (attempts.has(attempt)) throw new AttemptTaken(call);
      attempts.add(attempt);
      const recorded = recordedCall(call);
      calls.set(id, recorded);
      claimed.push(call);
      this.#claimedInVain.add(item);
      return done(recorded);
    });

    const writes = () => {
      if (claimed.length === 0) return [];
      return [...decided.writes(), this.#insertion(claimed)];
    };
    const { lookedAt } = this.#latest;
    const judged = outcomes.filter(
      (outcome, index) => outcome !== HELD && !lookedAt.has(items[index] as object),
    );
    const isRefused = (outcome: (typeof outcomes)[number]) => outcome !== HELD && outcome.outcome !== 'done';
    this.#latest.count(judged.length, judged.filter(isRefused).length);
    if (others.length === 0 || known.isLookedUp) return { writes: writes(), outcomes: () => outcomes };
    const asked = others.map((index) => items[index] as ClaimItem<Claim, Request>);
    const find = durableCallBatch.find(this.#table, distinctIdsOf(asked));
    const told = (found: SqlResult | undefined) => {
      const recorded = callsFrom(found);
      for (const [at, index] of others.entries()) {
        const id = textOf((asked[at] as ClaimItem<Claim, Request>).id);
        if (recorded.has(id)) outcomes[index] = knownCall(recorded.get(id));
      }
      return outcomes;
    };
    // At the price of a round trip where nothing is written, which has no commit to come with.
    if (claimed.length === 0) {
      return { writes: [find], next: ([found]) => ({ writes: [], outcomes: () => told(found) }) };
    }
    return { writes: [...writes(), find], outcomes: (written) => told(written.at(-1)) };
  }

  /** As who comes alone is told it: nothing of his was sent, and recovery goes on with what was committed. */
  unknown(_item: ClaimItem<Claim, Request>, cause: unknown): never {
    throw cause;
  }
}

/** What became of a look: undefined, that it is decided under its locks. */
type Looked<Objection extends Refused> = Done<Objected<Objection> | KnownCall | undefined>;

/**
 * Whoever is on record, or is refused as things stand, is told so without a lock. The record is read last: one whose claim has moved what
 * refuses it is on record by then, since both were committed together. (Unless it was given up in between, with its record: then it is
 * told what its rows said of it while it was there.)
 */
export class LookWork<Claim, Request extends Json, Objection extends Refused>
  implements GroupWork<ClaimItem<Claim, Request>, Looked<Objection>>
{
  readonly #sql: SqlPort;
  readonly #table: string;
  readonly #grouped: GroupedCallClaims<Claim, Request, Objection>;
  readonly #look: ClaimLook<Claim, Objection>;
  readonly #latest: Latest;

  constructor(
    sql: SqlPort,
    table: string,
    grouped: GroupedCallClaims<Claim, Request, Objection>,
    look: ClaimLook<Claim, Objection>,
    latest: Latest,
  ) {
    this.#sql = sql;
    this.#table = table;
    this.#grouped = grouped;
    this.#look = look;
    this.#latest = latest;
  }

  keyOf({ claim }: ClaimItem<Claim, Request>): string {
    return this.#grouped.subjectOf(claim);
  }

  sizeOf({ claim }: ClaimItem<Claim, Request>): number {
    return this.#grouped.sizeOf?.(claim) ?? 0;
  }

  read(): readonly SqlStatement[] {
    return [];
  }

  decide(items: readonly ClaimItem<Claim, Request>[]): BatchDecision<Looked<Objection>> {
    const claims = items.map(({ claim }) => claim);
    const find = this.#sql.dialect.durableCallBatch.find(this.#table, distinctIdsOf(items));
    return {
      writes: [...this.#look.read(claims), find],
      outcomes: (read) => {
        const recorded = callsFrom(read.at(-1));
        const objections = this.#look.objections(claims, read.slice(0, -1));
        const told = items.map((item, index) => {
          const id = textOf(item.id);
          if (recorded.has(id)) return knownCall(recorded.get(id));
          const objection = objections[index];
          return objection && { ...refused(objection.reason), objection };
        });
        this.#latest.count(items.length, told.filter((one) => one !== undefined).length);
        return told.map((one, index) => {
          if (one === undefined) this.#latest.lookedAt.add(items[index] as object);
          return done(one);
        });
      },
    };
  }

  /** It changes nothing, whether it was answered or not. */
  unknown(_item: ClaimItem<Claim, Request>, cause: unknown): never {
    if (!(cause instanceof StoreError)) throw cause;
    throw new StoreError(cause.code, 'none', cause.message, { cause });
  }
}

/**
 * The number of an attempt that is on record, so that its rows claim what they must not. All that is written for the batch goes with
 * it, so it must stand alone before it can be refused.
 */
export class AttemptTaken extends Error {
  constructor({ subject, attempt }: NewDurableCall) {
    super(`attempt ${attempt} at ${subject} is on record`);
  }
}

/** What is on record of those who ask. */
interface Known {
  /** By the text of their ids. */
  readonly calls: ReadonlyMap<string, DurableCall | undefined>;
  /** Whether there are no others. */
  readonly isLookedUp: boolean;
  /** At their subjects: `attemptOf`. */
  readonly attempts: ReadonlySet<string>;
}

const nothingKnown: Known = { calls: new Map(), isLookedUp: false, attempts: new Set() };

function attemptOf(subject: string, attempt: number): string {
  return `${attempt} ${subject}`;
}

/** Undefined: it has to be read by itself, as its answer is long. */
function callsFrom(found: SqlResult | undefined): ReadonlyMap<string, DurableCall | undefined> {
  return new Map((found?.rows ?? []).map((row) => [textOf(durableCallId(row)), callFrom(row)]));
}

function callFrom(row: Row): DurableCall | undefined {
  if (Number(row.is_long) === 1) return undefined;
  try {
    return durableCallFromRow(row);
  } catch {
    // Nobody else's outcome may hang on it, and it may be committed by now: whoever asks for it reads it, and is told.
    return undefined;
  }
}

function knownCall(found: DurableCall | undefined): KnownCall {
  return { ...refused('already-done'), found };
}
