import { MisuseError } from './errors.ts';
import { observed } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Columns, RowRef, SqlSession, SqlValue } from './ports.ts';

export interface ConditionalUpdate extends RowRef {
  /** What the row must still hold: the state that the caller decided on. */
  readonly expect: Columns;
  readonly set: Columns;
  /** A column to count up by one: the version, where somebody else relies on an optimistic lock. */
  readonly increment?: string;
}

export const UPDATE = { guard: 'conditional-update' } as const;

/**
 * Compare-and-set: changes one row only if it still holds what `expect` says, in one statement.
 *
 * Of many racers that expect the same state and leave it, exactly one is `done`. The database decides: a racer
 * that had to wait for another's row lock re-reads the condition afterwards (READ COMMITTED). `wrong-state`
 * means that the row holds something else, or that there is no such row.
 *
 * It protects the one row, and only against writers that check the same condition.
 *
 * Cost: one statement, and the commit of its transaction.
 *
 * @throws StoreError
 * @throws MisuseError  `set` only repeats `expect`, so that the row would let everybody through.
 * @see Herlihy, "Wait-free synchronization" (1991), on compare-and-swap
 */
export function conditionalUpdate(
  sql: SqlSession,
  update: ConditionalUpdate,
): Promise<Done<void> | Refused<'wrong-state'>> {
  return observed(UPDATE, sql.dialect.name, compareAndSet, sql, update);
}

async function compareAndSet(
  sql: SqlSession,
  update: ConditionalUpdate,
): Promise<Done<void> | Refused<'wrong-state'>> {
  requireUpdate(update);
  const { affectedRows } = await sql.execute(sql.dialect.conditionalUpdate(update));
  return affectedRows === 0 ? refused('wrong-state') : done(undefined);
}

/** @throws MisuseError */
export function requireUpdate(update: ConditionalUpdate): void {
  if (update.increment !== undefined && update.increment in update.set) {
    throw new MisuseError(`${update.increment} is counted up, and cannot be set too`);
  }
  if (changesNothing(update))
    throw new MisuseError('the update must change what it expects, or something else');
}

/** Whether the update leaves the row exactly as it expects it: then everybody would win. */
function changesNothing({ expect, set, increment }: ConditionalUpdate): boolean {
  if (increment !== undefined) return false;
  return Object.entries(set).every(([column, value]) => column in expect && same(expect[column], value));
}

function same(a: SqlValue | undefined, b: SqlValue): boolean {
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b;
}
