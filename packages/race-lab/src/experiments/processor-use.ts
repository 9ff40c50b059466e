import { cpus } from 'node:os';

/** Shares of the time of all processors, 0 to 1, in which they were not idle, whoever used them. */
export interface ProcessorUse {
  mean: number;
  /** The busiest second's. */
  peak: number;
}

const WINDOW_MS = 1_000;

/** Begins to measure; the result ends it. */
export function processorUse(): () => ProcessorUse {
  const start = times();
  let peak = 0;
  let windowStart = start;
  const closeWindow = () => {
    const now = times();
    peak = Math.max(peak, busyShare(windowStart, now));
    windowStart = now;
  };
  const timer = setInterval(closeWindow, WINDOW_MS).unref();
  return () => {
    clearInterval(timer);
    const mean = busyShare(start, times());
    return { mean, peak: Math.max(peak, mean) };
  };
}

interface Times {
  idleMs: number;
  totalMs: number;
}

function times(): Times {
  let idleMs = 0;
  let totalMs = 0;
  for (const { times } of cpus()) {
    idleMs += times.idle;
    totalMs += times.idle + times.user + times.nice + times.sys + times.irq;
  }
  return { idleMs, totalMs };
}

function busyShare(from: Times, to: Times): number {
  const totalMs = to.totalMs - from.totalMs;
  return totalMs > 0 ? 1 - (to.idleMs - from.idleMs) / totalMs : 0;
}
