import { StoreError } from '../errors.ts';

/**
 * For the statements of a transaction, COMMIT excepted: whatever fails before that is sent has no effect, since the
 * server rolls back with the connection. Not for what the work does besides: a lost answer of another store stays
 * unknown.
 */
export async function neverCommitted<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreError && error.effect === 'unknown') {
      throw new StoreError(error.code, 'none', error.message, { cause: error });
    }
    throw error;
  }
}
