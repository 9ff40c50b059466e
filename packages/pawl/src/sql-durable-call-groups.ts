import type { GroupedCallClaims, GroupedCallSettlements, Settlement } from './durable-call-group.ts';
import type { DurableCall, Json, NewDurableCall } from './durable-call-record.ts';
import { durableCallId, recordedCall, requireTimes } from './durable-call-row.ts';
import type { ClaimItem, DurableCallGroups, Objected, SettleItem } from './durable-call-store.ts';
import {
  type BatchDecision,
  type GroupCommitOptions,
  type GroupWork,
  groupCommit,
  HELD,
  type InterimBatchDecision,
} from './group-commit.ts';
import type { Answer, IdempotencyRecordId } from './idempotency-record.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { CompletedCall, Row, SqlPort, SqlResult, SqlStatement } from './ports.ts';

/** Over which connections the steps of many callers are committed together, and how. */
export interface DurableCallGroupOptions extends Omit<GroupCommitOptions, 'name'> {
  /** Best with `readThenWrite`, and for nothing else: see `groupCommit`. */
  readonly sql: SqlPort;
}

export function sqlDurableCallGroups(
  table: string,
  { sql, ...options }: DurableCallGroupOptions,
): DurableCallGroups {
  return {
    claims(name, grouped) {
      const group = groupCommit(sql, new ClaimWork(sql, table, name, grouped), {
        ...options,
        name: `${name}.claim`,
      });
      return async (item) => {
        try {
          return await group.submit(item);
        } catch (error) {
          if (error instanceof AttemptTaken) return refused('already-done');
          throw error;
        }
      };
    },
    settlements(name, grouped) {
      const group = groupCommit(sql, new SettleWork(sql, table, grouped), {
        ...options,
        name: `${name}.settle`,
      });
      return (item) => group.submit(item);
    },
  };
}

type ClaimResult<Objection extends Refused> =
  | Done<DurableCall>
  | Objected<Objection>
  | Refused<'already-done'>;

class ClaimWork<Claim, Request extends Json, Objection extends Refused>
  implements GroupWork<ClaimItem<Claim, Request>, ClaimResult<Objection>>
{
  readonly #sql: SqlPort;
  readonly #table: string;
  readonly #name: string;
  readonly #grouped: GroupedCallClaims<Claim, Request, Objection>;

  constructor(
    sql: SqlPort,
    table: string,
    name: string,
    grouped: GroupedCallClaims<Claim, Request, Objection>,
  ) {
    this.#sql = sql;
    this.#table = table;
    this.#name = name;
    this.#grouped = grouped;
  }

  keyOf({ claim }: ClaimItem<Claim, Request>): string {
    return this.#grouped.subjectOf(claim);
  }

  sizeOf({ claim }: ClaimItem<Claim, Request>): number {
    return this.#grouped.sizeOf?.(claim) ?? 0;
  }

  read(items: readonly ClaimItem<Claim, Request>[], wait: boolean): readonly SqlStatement[] {
    const { durableCallBatch } = this.#sql.dialect;
    const claims = items.map(({ claim }) => claim);
    const calls = items.map(({ id, claim }) => ({ id, subject: this.#grouped.subjectOf(claim) }));
    return [...this.#grouped.read(claims, wait), durableCallBatch.known(this.#table, this.#name, calls)];
  }

  decide(
    items: readonly ClaimItem<Claim, Request>[],
    read: readonly SqlResult[],
  ): BatchDecision<ClaimResult<Objection>> {
    const known = new Set<string>();
    const lastAttempts = new Map<string, number>();
    for (const row of read.at(-1)?.rows ?? []) {
      if (row.scope === null) lastAttempts.set(String(row.subject), Number(row.attempt));
      else known.add(textOf(durableCallId(row)));
    }
    const decided = this.#grouped.decide(
      items.map(({ claim }) => claim),
      read.slice(0, -1),
    );
    const calls: NewDurableCall[] = [];

    const outcomes = items.map(({ claim, id, record }): ClaimResult<Objection> | typeof HELD => {
      // Somebody who came alone would be refused whatever his rows say, and answered from the record.
      if (known.has(textOf(id))) return refused('already-done');
      const claimed = decided.claim(claim);
      if (claimed === HELD) return HELD;
      if (claimed.outcome !== 'done') return { ...refused(claimed.reason), objection: claimed };
      const call = record(claimed.value);
      requireTimes(call);
      if (call.attempt <= (lastAttempts.get(call.subject) ?? 0)) throw new AttemptTaken(call);
      known.add(textOf(id));
      lastAttempts.set(call.subject, call.attempt);
      calls.push(call);
      return done(recordedCall(call));
    });

    if (calls.length === 0) return { writes: [], outcomes: () => outcomes };
    // In the same order by all instances: who inserts a key waits for who has inserted it before, and must not wait for him in turn.
    calls.sort((one, other) => (textOf(one.id) < textOf(other.id) ? -1 : 1));
    const insert = this.#sql.dialect.durableCallBatch.insert(this.#table, calls);
    return { writes: [...decided.writes(), insert], outcomes: () => outcomes };
  }

  /** As who comes alone is told it: nothing of his was sent, and recovery goes on with what was committed. */
  unknown(_item: ClaimItem<Claim, Request>, cause: unknown): never {
    throw cause;
  }
}

/**
 * The number of an attempt that is on record, so that its rows claim what they must not. All that is written for the batch goes with
 * it, so it must stand alone before it can be refused.
 */
class AttemptTaken extends Error {
  constructor({ subject, attempt }: NewDurableCall) {
    super(`attempt ${attempt} at ${subject} is on record`);
  }
}

type SettleResult = Done<Answer> | Objected<Refused> | Refused<'fenced'>;

class SettleWork<Request extends Json, Value extends Json>
  implements GroupWork<SettleItem<Request, Value>, SettleResult>
{
  readonly #sql: SqlPort;
  readonly #table: string;
  readonly #grouped: GroupedCallSettlements<Request, Value>;

  constructor(sql: SqlPort, table: string, grouped: GroupedCallSettlements<Request, Value>) {
    this.#sql = sql;
    this.#table = table;
    this.#grouped = grouped;
  }

  keyOf({ settlement }: SettleItem<Request, Value>): string {
    return settlement.call.subject;
  }

  sizeOf({ settlement }: SettleItem<Request, Value>): number {
    return this.#grouped.sizeOf?.(settlement) ?? 0;
  }

  read(items: readonly SettleItem<Request, Value>[], wait: boolean): readonly SqlStatement[] {
    const { durableCallBatch } = this.#sql.dialect;
    const ids = items.map(({ id }) => id);
    return [...this.#grouped.read(settlementsOf(items), wait), durableCallBatch.lock(this.#table, ids, wait)];
  }

  decide(
    items: readonly SettleItem<Request, Value>[],
    read: readonly SqlResult[],
  ): BatchDecision<SettleResult> | InterimBatchDecision<SettleResult> {
    const locked = read.at(-1)?.rows ?? [];
    const records = new Map(locked.map((row) => [textOf(durableCallId(row)), fenceOf(row)]));
    const decided = this.#grouped.decide(settlementsOf(items), read.slice(0, -1));
    const answers: {
      readonly item: SettleItem<Request, Value>;
      readonly answer: AnswerOf;
      readonly index: number;
    }[] = [];
    let isLater = false;

    const outcomes = items.map((item, index): SettleResult | typeof HELD => {
      const id = textOf(item.id);
      const fence = records.get(id);
      // Who holds its fence forgets it himself: it is there, and somebody else has it.
      if (fence === undefined) return HELD;
      if (fence !== item.fence) return refused('fenced');
      const settled = decided.settle(item.settlement);
      if (settled === HELD) return HELD;
      if (settled.outcome !== 'done') return { ...refused(settled.reason), objection: settled };
      const { value: answer } = settled;
      isLater ||= typeof answer === 'function';
      answers.push({ item, answer, index });
      records.set(id, SETTLED);
      return HELD; // Until its answer is known.
    });

    if (answers.length === 0) return { writes: [], outcomes: () => outcomes };
    const complete = (written: readonly SqlResult[]): readonly SqlStatement[] => {
      const calls = answers.map(({ item, answer, index }): CompletedCall => {
        const known = typeof answer === 'function' ? answer(written) : answer;
        outcomes[index] = done(known);
        return { id: item.id, ...item.completed(known) };
      });
      return this.#sql.dialect.durableCallBatch.complete(this.#table, calls);
    };
    const writes = decided.writes();
    if (isLater && writes.length > 0) {
      return { writes, next: (written) => ({ writes: complete(written), outcomes: () => outcomes }) };
    }
    return { writes: [...writes, ...complete([])], outcomes: () => outcomes };
  }

  /** As who comes alone is told it: he looks at the record, and where that does not tell, recovery settles it. */
  unknown(_item: SettleItem<Request, Value>, cause: unknown): never {
    throw cause;
  }
}

type AnswerOf = Answer | ((written: readonly SqlResult[]) => Answer);

/** No fence is 0. */
const SETTLED = 0;

function fenceOf({ fence, expires_at }: Row): number {
  return expires_at === null ? Number(fence) : SETTLED;
}

function settlementsOf<Request extends Json, Value extends Json>(
  items: readonly SettleItem<Request, Value>[],
): readonly Settlement<Request, Value>[] {
  return items.map(({ settlement }) => settlement);
}

/** The scope is JSON, and a key has no control characters. */
function textOf({ scope, key }: IdempotencyRecordId): string {
  return `${scope}\n${key}`;
}
