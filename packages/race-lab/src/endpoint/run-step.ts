import { BadArgumentsError } from '../commands/arguments.ts';

/** A function of the race file threw, or did not come back in time. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly code = 'RACE_FILE_FAILED';
}

/**
 * Runs a function of a race file, which may never come back: then it is left, and whatever it holds stays open.
 *
 * @param limitMs  Absent: it may take as long as it likes.
 * @throws StepError  It threw, or took longer than `limitMs`.
 * @throws BadArgumentsError  as the function does
 * @throws the signal's reason  when aborted
 */
export async function runStep<T>(
  name: string,
  work: () => T | Promise<T>,
  { signal, limitMs }: { signal?: AbortSignal; limitMs?: number },
): Promise<T> {
  signal?.throwIfAborted();
  const left = Promise.withResolvers<never>();
  const abandon = () => left.reject(signal?.reason);
  signal?.addEventListener('abort', abandon, { once: true });
  const timer =
    limitMs === undefined
      ? undefined
      : setTimeout(() => left.reject(new StepError(`${name} took longer than ${limitMs / 1000} s`)), limitMs);
  try {
    return await Promise.race([(async () => work())(), left.promise]);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof StepError || error instanceof BadArgumentsError) throw error;
    throw new StepError(`${name} failed: ${said(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abandon);
  }
}

function said(error: unknown): string {
  return error instanceof Error && error.message !== '' ? `${error.name}: ${error.message}` : String(error);
}
