import type { SqlTransaction } from './ports.ts';

/**
 * Runs `work`, each of whose lock waits is limited. The limit that was there before is given back whatever comes: it is the
 * caller's for the rest of the transaction, and where it is the session's, the connection goes on to somebody else.
 *
 * @param waitMs  In milliseconds, at least 1; InnoDB rounds up to whole seconds.
 * @throws StoreError  `LOCK_TIMEOUT`: a lock was not granted in time. The transaction is of no further use.
 */
export async function withinWait<T>(
  transaction: SqlTransaction,
  waitMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const { limitLockWait, restoreLockWait } = transaction.dialect;
  await transaction.execute(limitLockWait(waitMs));
  const result = await work().catch(async (error: unknown) => {
    // What the lock met is the answer. An adapter does not lend a session again that kept the limit.
    await transaction.execute(restoreLockWait).catch(() => undefined);
    throw error;
  });
  await transaction.execute(restoreLockWait);
  return result;
}
