import { setTimeout as sleep } from 'node:timers/promises';

/** The sandbox's only source of time, so that tests can own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** @param signal  Ends the sleep early. It resolves then as it does at its end. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: Date.now,
  async sleep(ms, signal) {
    if (ms <= 0 || signal?.aborted) return;
    await sleep(ms, undefined, signal && { signal }).catch((error: unknown) => {
      if (!signal?.aborted) throw error;
    });
  },
};
