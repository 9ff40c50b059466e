import { CompiledQuery, type Kysely, type Transaction } from 'kysely';
import { StoreError } from '../errors.ts';
import type { SqlDialect, SqlPort, SqlSession, SqlTransaction } from '../ports.ts';
import { neverCommitted } from './never-committed.ts';
import { transactionHandle } from './transaction-handle.ts';

/** A transaction of the port that is also one of Kysely's, for the caller's own queries. */
export interface KyselyTransaction<Database> extends SqlTransaction {
  readonly trx: Transaction<Database>;
}

export interface KyselyPortOptions {
  /**
   * Whether whoever set up the sessions of the pool has made them READ COMMITTED. Then no transaction says so again, which on
   * MySQL spares each of them a round trip. Nothing checks it: where a session is at another level, so are its transactions,
   * and the guards do not promise what they promise. Default: false.
   */
  readonly sessionsAreReadCommitted?: boolean;
}

/**
 * The SQL port over Kysely.
 *
 * Build the `Kysely` instance over a classified pool (`classifiedPgPool`): it lends no connection in which somebody has left a transaction
 * open, and the queries that do not go through the port fail in the same words. A connection that is lost under one of those inside a transaction is
 * `unknown`, although nothing was committed: only the port's own statements know where they run.
 */
export function kyselyPort<Database>(
  db: Kysely<Database>,
  dialect: SqlDialect,
  { sessionsAreReadCommitted = false }: KyselyPortOptions = {},
): SqlPort<KyselyTransaction<Database>> {
  const begin = () =>
    sessionsAreReadCommitted ? db.transaction() : db.transaction().setIsolationLevel('read committed');

  return {
    dialect,
    execute: executeOn(db, dialect),

    async transaction(work) {
      let committing = false;
      let failed: { readonly error: unknown } | undefined;
      const run = () =>
        begin().execute(async (trx) => {
          const { transaction, end } = transactionHandle(dialect, executeOn(trx, dialect));
          const result = await work({ ...transaction, trx })
            .catch((error: unknown) => {
              failed = { error };
              throw error;
            })
            .finally(end);
          committing = true;
          return result;
        });
      try {
        return await run();
      } catch (error) {
        // What the work threw says more than a ROLLBACK that failed after it: either way nothing was committed.
        if (failed !== undefined) throw failed.error;
        if (!committing) return neverCommitted(() => Promise.reject(dialect.classifyError(error)));
        if (isRolledBack(error)) {
          throw new StoreError('ROLLED_BACK', 'none', 'COMMIT was answered with ROLLBACK', { cause: error });
        }
        throw dialect.classifyError(error);
      }
    },
  };
}

/** Without the plugins of the instance, which would rename the guards' columns (`CamelCasePlugin`). */
function executeOn<Database>(db: Kysely<Database>, dialect: SqlDialect): SqlSession['execute'] {
  const plain = db.withoutPlugins();
  return async ({ text, values }) => {
    try {
      const { rows, numAffectedRows } = await plain.executeQuery<Record<string, unknown>>(
        CompiledQuery.raw(text, [...values]),
      );
      return { rows, affectedRows: Number(numAffectedRows ?? rows.length) };
    } catch (error) {
      throw dialect.classifyError(error);
    }
  };
}

/** Kysely's mark for a COMMIT that PostgreSQL answered with ROLLBACK. */
function isRolledBack(error: unknown): boolean {
  return typeof error === 'object' && error !== null && Symbol.for('kysely.AbortedTransactionError') in error;
}
