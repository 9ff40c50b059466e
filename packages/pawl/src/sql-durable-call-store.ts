import { requireLimit } from './columns.ts';
import { durableCallFromRow, recordedCall, requireTimes } from './durable-call-row.ts';
import type { DurableCallStore } from './durable-call-store.ts';
import { StoreError } from './errors.ts';
import { done, refused } from './outcome.ts';
import type { SqlPort, SqlSession, SqlStatement, SqlTransaction } from './ports.ts';
import { type DurableCallGroupOptions, sqlDurableCallGroups } from './sql-durable-call-groups.ts';
import { pawlTables } from './tables.ts';
import { retried, transact } from './transaction.ts';

export interface SqlDurableCallStoreOptions {
  /** The table that `pawl migrate` made, with its schema where it has one. */
  readonly table?: string;
  /** Lets callers share transactions, where the definition says how (`grouped`). Absent: each has his own. */
  readonly groups?: DurableCallGroupOptions;
}

/**
 * Records in a table of PostgreSQL, MySQL or MariaDB (`pawl migrate` creates it), beside the caller's own rows.
 *
 * Each step is one statement on the record, in the transaction of the caller's rows where there are any. Two take more on MySQL,
 * which cannot tell what it has changed: `takeOver` is a transaction of two statements, and `reopen` has two.
 *
 * A transaction that met a conflict runs again from its beginning, its hook included, so hooks must have no effect outside it.
 * The conflict that ends the last attempt is thrown, `DEADLOCK` or `SERIALIZATION_FAILURE`, and nothing was done.
 *
 * @throws MisuseError  From its methods: a time or a limit. Where that is of the hook's making, its transaction was rolled back;
 *   else nothing was sent.
 */
export function sqlDurableCallStore<Transaction extends SqlTransaction>(
  sql: SqlPort<Transaction>,
  { table = pawlTables().durableCall, groups }: SqlDurableCallStoreOptions = {},
): DurableCallStore<Transaction> {
  const { durableCall, sweepExpired } = sql.dialect;
  const affected = async (session: SqlSession, statement: SqlStatement) =>
    (await session.execute(statement)).affectedRows === 1;

  return {
    kind: sql.dialect.name,
    ...(groups && { groups: sqlDurableCallGroups(table, groups) }),
    claim: (claim) =>
      throughConflicts(() =>
        transact(sql, async (transaction) => {
          const claimed = await claim(transaction);
          if (claimed.outcome !== 'done') return claimed;
          const call = claimed.value;
          requireTimes(call);
          const recorded = await inserted(transaction, durableCall.insert(table, call));
          return recorded ? done(recordedCall(call)) : refused('already-done');
        }),
      ),
    settle: (id, fence, decide) =>
      throughConflicts(() =>
        transact(sql, async (transaction) => {
          const decided = await decide(transaction);
          if (decided.outcome !== 'done') return decided;
          requireTimes(decided.value);
          const change = durableCall.change(table, id, fence, decided.value);
          return (await affected(transaction, change)) ? done(undefined) : refused('fenced');
        }),
      ),
    async change(id, fence, change) {
      requireTimes(change);
      return throughConflicts(() => affected(sql, durableCall.change(table, id, fence, change)));
    },
    reopen: (attempt, decide) =>
      throughConflicts(() =>
        transact(sql, async (transaction) => {
          const decided = await decide(transaction);
          if (decided.outcome !== 'done') return decided;
          requireTimes(decided.value);
          const row = await durableCall.reopen(transaction, table, attempt, decided.value);
          return row === undefined ? refused('wrong-state') : done(durableCallFromRow(row));
        }),
      ),
    forget: (id, fence, give) =>
      throughConflicts(() =>
        transact(sql, async (transaction) => {
          await give(transaction);
          const forgotten = await affected(transaction, durableCall.forget(table, id, fence));
          return forgotten ? done(undefined) : refused('fenced');
        }),
      ),
    async takeOver(name, limit, leaseMs) {
      requireLimit(limit);
      requireTimes({ leaseMs });
      const rows = await throughConflicts(() => durableCall.takeOver(sql, table, { name, limit, leaseMs }));
      return rows.map(durableCallFromRow);
    },
    async find(id) {
      const { rows } = await sql.execute(durableCall.read(table, id));
      return rows[0] && durableCallFromRow(rows[0]);
    },
    async sweep(limit) {
      requireLimit(limit);
      const sweep = sweepExpired({ table, column: 'expires_at', limit });
      return throughConflicts(async () => (await sql.execute(sweep)).affectedRows);
    },
  };
}

/** Some databases tell of a key that is there by no row, others by an error. */
async function inserted(session: SqlSession, insert: SqlStatement): Promise<boolean> {
  try {
    return (await session.execute(insert)).affectedRows === 1;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;
    throw error;
  }
}

/** As `retried`, for what has no outcome of its own for a conflict: the last one is thrown. */
async function throughConflicts<T>(work: () => Promise<T>): Promise<T> {
  let conflict: unknown;
  const result = await retried(async () => {
    try {
      return done(await work());
    } catch (error) {
      conflict = error;
      throw error;
    }
  });
  if (result.outcome === 'done') return result.value;
  throw conflict;
}
