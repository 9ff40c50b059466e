import type { Settled } from './outcome.ts';
import type { SqlPort, SqlTransaction } from './ports.ts';

class RolledBackWith<Result> extends Error {
  readonly result: Result;

  constructor(result: Result) {
    super('rolled back because the work was not done');
    this.result = result;
  }
}

/**
 * Runs `work` in a transaction, and commits only what was `done`: any other outcome rolls back whole, so a
 * refusal never leaves half of its work behind.
 *
 * @throws StoreError  As `SqlPort.transaction`. Whatever `work` throws rolls back and is thrown on.
 */
export async function transact<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  work: (transaction: Transaction) => Promise<Result>,
): Promise<Result> {
  try {
    return await sql.transaction(async (transaction) => {
      const result = await work(transaction);
      if (result.outcome !== 'done') throw new RolledBackWith(result);
      return result;
    });
  } catch (error) {
    if (error instanceof RolledBackWith) return error.result as Result;
    throw error;
  }
}
