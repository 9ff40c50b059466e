/** Lets nobody pass before `count` have arrived: a forced interleaving instead of a hopeful sleep. */
export function barrier(count: number): () => Promise<void> {
  const open = Promise.withResolvers<void>();
  let arrived = 0;
  return () => {
    arrived++;
    if (arrived >= count) open.resolve();
    return open.promise;
  };
}

/** Runs `work` for 0 … count−1 at once. */
export function together<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(index)));
}

/** Asks until the answer is yes. @throws when it is not within `limitMs`, with what `state` shows. */
export async function until(
  question: () => Promise<boolean> | boolean,
  limitMs = 10_000,
  state: () => unknown = () => String(question),
): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await question())) {
    if (performance.now() > endMs) throw new Error(`not within ${limitMs} ms: ${JSON.stringify(state())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
