import { StoreError } from '../errors.ts';

/** Whatever fails before COMMIT is sent has no effect: the server rolls back with the connection. */
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
