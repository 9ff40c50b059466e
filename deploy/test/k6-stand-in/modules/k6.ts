import { say } from './say.ts';

const still = new Int32Array(new SharedArrayBuffer(4));

export function check<T>(value: T, sets: Record<string, (value: T) => boolean>): boolean {
  const results = Object.entries(sets).map(([name, passes]) => {
    const passed = passes(value);
    say({ kind: 'check', name, passed });
    return passed;
  });
  return results.every(Boolean);
}

export function fail(message: string): never {
  throw new Error(message);
}

export function sleep(seconds: number): void {
  Atomics.wait(still, 0, 0, seconds * 1_000);
}
