import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Columns, RowRef, SqlSession } from './ports.ts';

export interface VersionedUpdate extends RowRef {
  /** The version that was read; the update adds one to it. */
  readonly version: { readonly column: string; readonly value: number };
  readonly set: Columns;
}

/**
 * Changes a row only if nobody has changed it since `version` was read, and counts the version up.
 *
 * `contended`: somebody has, or the row is gone. Whatever was computed from the old row is worthless then, so
 * roll back and read again: in a *new* transaction, because under REPEATABLE READ this one would go on seeing
 * the old row for ever (`transactWithRetry` does it).
 *
 * Cost: one statement.
 *
 * @throws StoreError
 * @see Kung and Robinson, "On optimistic methods for concurrency control" (1981)
 */
export async function versionedUpdate(
  sql: SqlSession,
  update: VersionedUpdate,
): Promise<Done<{ version: number }> | Refused<'contended'>> {
  const { column, value } = update.version;
  const statement = sql.dialect.conditionalUpdate({
    table: update.table,
    key: update.key,
    expect: { [column]: value },
    set: update.set,
    increment: column,
  });
  const { affectedRows } = await sql.execute(statement);
  return affectedRows === 0 ? refused('contended') : done({ version: value + 1 });
}
