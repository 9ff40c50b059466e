import { StoreError } from '../errors.ts';
import type { SqlDialect, SqlSession, SqlTransaction } from '../ports.ts';
import { neverCommitted } from './never-committed.ts';

/**
 * A transaction to hand out to the work, and the means to end it.
 *
 * Work may leave a branch behind: `Promise.all([branch(), fails()])` rejects while `branch` still runs. Its next
 * statement would go into the transaction of whoever has the connection by then, and be committed with it.
 */
export function transactionHandle(
  dialect: SqlDialect,
  execute: SqlSession['execute'],
): { readonly transaction: SqlTransaction; end(): void } {
  let over = false;
  return {
    transaction: {
      dialect,
      inTransaction: true,
      execute: async (statement) => {
        if (over) throw transactionIsOver();
        return neverCommitted(() => execute(statement));
      },
    },
    end() {
      over = true;
    },
  };
}

export function transactionIsOver(): StoreError {
  return new StoreError('ROLLED_BACK', 'none', 'the transaction of this statement is over');
}
