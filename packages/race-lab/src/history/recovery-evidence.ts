import type { DurableCallRow } from './durable-calls.ts';
import type { Evidence } from './evidence.ts';

/** What a run in which something went wrong is judged by, besides what every run is. */
export interface RecoveryEvidence extends Evidence {
  calls: readonly DurableCallRow[];
  /** By order. One that is not here was promised nothing. */
  promises: ReadonlyMap<string, RecoveryPromise>;
}

/** What was promised of an order, whatever happened to the processes and messages that it needed. */
export interface RecoveryPromise {
  /** When the last thing went wrong, in milliseconds since 1970. */
  struckAtMs: number;
  /** From when on nothing was wrong any more: who had died was back. */
  healedAtMs: number;
  /** From then, or from its claim where that was later, until it must be settled, in milliseconds. */
  withinMs: number;
  /** It may take as long after its session's end, with the margin: asking again does not settle it. */
  mayOutlastSession: boolean;
  /** How long after that end, in milliseconds. */
  afterSessionMs: number;
  /** The statuses that it may end in. */
  ends: readonly string[];
}

/** Until when a call of an order must be settled, in milliseconds since 1970. */
export function deadlineOf(call: DurableCallRow, promise: RecoveryPromise): number {
  const { healedAtMs, withinMs, mayOutlastSession, afterSessionMs } = promise;
  const usual = Math.max(healedAtMs, call.createdAtMs) + withinMs;
  if (!mayOutlastSession || call.finalAfterMs === null) return usual;
  return Math.max(usual, call.finalAfterMs + afterSessionMs);
}
