import { setTimeout as sleep } from 'node:timers/promises';

/** How long something may take that is waited for, in milliseconds: as long as a slow machine needs, and not for ever. */
const LIMIT_MS = 60_000;

const LOOK_AGAIN_MS = 10;

/** Asks until the answer is yes. @throws when it is not within the limit. */
export async function until(question: () => Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!(await question())) {
    if (performance.now() > endMs) throw new Error(`not within ${LIMIT_MS} ms: ${what}`);
    await sleep(LOOK_AGAIN_MS);
  }
}

/** As `promise`. @throws when it has not settled within the limit. */
export async function within<T>(promise: Promise<T>, what: string, limitMs = LIMIT_MS): Promise<T> {
  const given = new AbortController();
  const late = sleep(limitMs, undefined, { signal: given.signal }).then(() => {
    throw new Error(`not within ${limitMs} ms: ${what}`);
  });
  // Its end is not waited for.
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    given.abort();
  }
}

/** Runs `work` for 0 … count−1 at once. */
export function together<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(index)));
}
