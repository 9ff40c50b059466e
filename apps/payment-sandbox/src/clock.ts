import { setTimeout as sleep } from 'node:timers/promises';

/** The sandbox's only source of time, so that tests can own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  sleep(ms: number): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: Date.now,
  async sleep(ms) {
    if (ms > 0) await sleep(ms);
  },
};
