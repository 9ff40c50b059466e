import { StoreError } from './errors.ts';
import type { GroupCommit, GroupRefusal, HELD } from './group-commit.ts';
import type { Done, Refused } from './outcome.ts';
import type { Columns, RowRef, SqlResult, SqlStatement, SqlValue } from './ports.ts';

/**
 * Requests about rows of any table, each with statements of its own: what they share is the transaction, and its round trips.
 */

/** What one of the requests of a transaction writes, and what that came to. */
export interface RequestDecision<Value> {
  readonly writes: readonly SqlStatement[];
  readonly outcome: (written: readonly SqlResult[]) => Done<Value> | typeof HELD;
}

/** All decisions as one, written in this order of theirs: each has the results of its own statements. */
export function together<Value>(
  decisions: readonly RequestDecision<Value>[],
  order: readonly number[] = decisions.map((_, index) => index),
) {
  const inOrder = order.map((index) => decisions[index] as RequestDecision<Value>);
  return {
    writes: inOrder.flatMap(({ writes }) => writes),
    outcomes(written: readonly SqlResult[]): readonly (Done<Value> | typeof HELD)[] {
      const outcomes: (Done<Value> | typeof HELD)[] = [];
      let next = 0;
      for (const [place, { writes, outcome }] of inOrder.entries()) {
        outcomes[order[place] as number] = outcome(written.slice(next, next + writes.length));
        next += writes.length;
      }
      return outcomes;
    },
  };
}

/** The texts of such statements are as few as the places in a program that make them. */
export function kept(statement: SqlStatement): SqlStatement {
  return { ...statement, prepared: true };
}

/** Names a row: what is written differently, and is the same to the database, is another here. */
export function rowName({ table, key }: RowRef): string {
  return JSON.stringify([table, Object.entries(key).map(([column, value]) => [column, textOf(value)])]);
}

function textOf(value: SqlValue): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
}

/** About, in bytes, with the statement that holds them. */
export function sizeOf(...columns: readonly Columns[]): number {
  let bytes = 400;
  for (const value of columns.flatMap((those) => Object.values(those))) {
    if (typeof value === 'string') bytes += 2 * value.length;
    else if (value instanceof Uint8Array) bytes += 2 * value.byteLength;
  }
  return bytes;
}

/** Nothing that could be read says whose doing it was: so it is for the caller, as without a group. */
export function lost(_request: unknown, cause: unknown): never {
  throw cause instanceof StoreError
    ? cause
    : new StoreError('CONNECTION_LOST', 'unknown', 'the answer could not be read', { cause });
}

/** As often as it takes: a request that another of the same batch came before is made again, when that is committed. */
export async function submitted<Item, Value>(
  group: GroupCommit<Item, Done<Value | 'again'>>,
  item: Item,
): Promise<Exclude<Value, 'again'> | Refused<GroupRefusal>> {
  for (;;) {
    const told = await group.submit(item);
    if (told.outcome === 'refused') return told;
    if (told.value !== 'again') return told.value as Exclude<Value, 'again'>;
  }
}
