import type { GroupedCallSettlements, Settlement } from './durable-call-group.ts';
import { areDistinct, idsOf, textOf } from './durable-call-ids.ts';
import type { Json } from './durable-call-record.ts';
import { durableCallId } from './durable-call-row.ts';
import type { Objected, SettleItem } from './durable-call-store.ts';
import {
  type BatchDecision,
  type GroupWork,
  HELD,
  type InterimBatchDecision,
  type OptimisticDecision,
} from './group-commit.ts';
import type { Answer } from './idempotency-record.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { CompletedCall, Row, SqlPort, SqlResult, SqlStatement } from './ports.ts';

type SettleResult = Done<Answer> | Objected<Refused> | Refused<'fenced'>;

export class SettleWork<Request extends Json, Value extends Json>
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

  optimistic(items: readonly SettleItem<Request, Value>[]): OptimisticDecision<SettleResult> | undefined {
    if (this.#grouped.optimistic === undefined || !areDistinct(items, (item) => this.keyOf(item)))
      return undefined;
    const decided = this.#grouped.optimistic(settlementsOf(items));
    if (decided === undefined) return undefined;
    const { answers, writes } = decided;
    const calls = items.map((item, index) => ({
      id: item.id,
      fence: item.fence,
      ...item.completed(answers[index] as Answer),
    }));
    return {
      writes: [...writes, ...this.#sql.dialect.durableCallBatch.completeFenced(this.#table, calls)],
      outcomes: () => answers.map((answer) => done(answer)),
    };
  }

  read(items: readonly SettleItem<Request, Value>[], wait: boolean): readonly SqlStatement[] {
    const { durableCallBatch } = this.#sql.dialect;
    const lock = durableCallBatch.lock(this.#table, idsOf(items), wait);
    return [...this.#grouped.read(settlementsOf(items), wait), lock];
  }

  decide(
    items: readonly SettleItem<Request, Value>[],
    read: readonly SqlResult[],
    waited: boolean,
  ): BatchDecision<SettleResult> | InterimBatchDecision<SettleResult> {
    const locked = read.at(-1)?.rows ?? [];
    const records = new Map(locked.map((row) => [textOf(durableCallId(row)), fenceOf(row)]));
    const decided = this.#grouped.decide(settlementsOf(items), read.slice(0, -1), waited);
    const answers: {
      readonly item: SettleItem<Request, Value>;
      readonly answer: AnswerOf;
      readonly index: number;
    }[] = [];
    let isLater = false;

    const outcomes = items.map((item, index): SettleResult | typeof HELD => {
      const id = textOf(item.id);
      const fence = records.get(id);
      // Passed over; or gone: whoever took it over has forgotten it.
      if (fence === undefined) return waited ? refused('fenced') : HELD;
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
