/**
 * The waiting times of a provider: evenly spread whole milliseconds from `minMs` to `maxMs`, both included.
 * The same seed gives the same sequence (mulberry32); the nth call that waits gets the nth of them.
 */
export function createLatency(minMs: number, maxMs: number, seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    const fraction = ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    return minMs + Math.floor(fraction * (maxMs - minMs + 1));
  };
}
