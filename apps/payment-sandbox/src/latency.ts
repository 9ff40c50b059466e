import { createRandom } from './random.ts';

/**
 * The waiting times of a provider: evenly spread whole milliseconds from `minMs` to `maxMs`, both included.
 * The same seed gives the same sequence; the nth call that waits gets the nth of them.
 */
export function createLatency(minMs: number, maxMs: number, seed: number): () => number {
  const random = createRandom(seed);
  return () => minMs + Math.floor(random() * (maxMs - minMs + 1));
}
