import { type Done, type Refused, transact } from 'pawl';
import type { ShopSql, ShopTransaction } from './database.ts';

/** A race that the strategy should have prevented was lost where nobody expected it. The client sees a 500. */
export class ConcurrencyFailure extends Error {
  override readonly name = 'ConcurrencyFailure';
  readonly code = 'OPTIMISTIC_LOCK';
}

/** An entity as an ORM hands it out: change it, and the change is written when the unit of work commits. */
export interface Managed<Entity> {
  readonly entity: Entity;
  /** Writes what was changed, `WHERE version = <as loaded>`. */
  flush(): Promise<Done<unknown> | Refused<'contended'>>;
}

/**
 * A unit of work, as an ORM runs it: `work` changes the entities that it has loaded, and only afterwards, at the commit,
 * are the changes flushed.
 *
 * @throws ConcurrencyFailure  The version had moved on. It is thrown by the flush: *after* `work` has returned,
 *   where no `try` inside `work` can catch it. Everything is rolled back.
 */
export function unitOfWork<Entity, Result extends Done<unknown> | Refused>(
  sql: ShopSql,
  manage: (transaction: ShopTransaction) => Promise<Managed<Entity>>,
  work: (load: () => Promise<Entity>) => Promise<Result>,
): Promise<Result> {
  return transact(sql, async (transaction) => {
    const loaded: Managed<Entity>[] = [];
    const result = await work(async () => {
      const managed = await manage(transaction);
      loaded.push(managed);
      return managed.entity;
    });
    for (const managed of loaded) {
      const written = await managed.flush();
      if (written.outcome !== 'done') {
        throw new ConcurrencyFailure('the row was changed by another transaction');
      }
    }
    return result;
  });
}
