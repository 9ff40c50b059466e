import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from './errors.ts';
import { openLockView } from './index.ts';
import { lockHistory, type SeenWait } from './lock-history.ts';
import type { LockView, RowLockCounters } from './lock-wait.ts';
import { inOneLine, withoutValues } from './statement-text.ts';

/** Between two looks. InnoDB renews what it shows less often, and its view waits for that. */
const EVERY_MS = 25;
const MOST_EXAMPLES = 3;
const EXAMPLE_LENGTH = 500;

/** What was seen of the waits for locks while something ran. */
export interface LockWaitsReport {
  /** How often was looked; a wait that is shorter than the time between two looks may not be seen. */
  samples: number;
  seen: number;
  /** Null when none was seen. */
  longestMs: number | null;
  mostAtOnce: number;
  /** The longest, at most three, each of another statement, index or mode. */
  examples: LockWaitExample[];
  /** What InnoDB itself counted in the whole server meanwhile; null where there is no InnoDB. */
  server: RowLockCounters | null;
  /** Why the view ended early or could not be opened; null when it saw everything. */
  brokenBecause: string | null;
}

/** Statements without their values. */
export interface LockWaitExample {
  waiter: string | null;
  /** What the holder runs; null while it is idle in its transaction, or not known. */
  holder: string | null;
  holderIdleInTransaction: boolean;
  table: string | null;
  index: string | null;
  mode: string | null;
  waitedMs: number;
}

/**
 * Watches the locks of a database until `stop` is called, any number of times. Neither ever throws: what goes wrong is
 * in the report.
 *
 * It takes a connection and, on PostgreSQL, some 40 statements a second: of 2 ms each while nobody waits, and of 30 ms
 * where 130 sessions queued for one row.
 */
export async function watchLocks(databaseUrl: string): Promise<{ stop(): Promise<LockWaitsReport> }> {
  const history = lockHistory();
  let brokenBecause: string | null = null;
  const broken = (error: unknown) => {
    brokenBecause ??= reasonOf(error);
    return null;
  };
  const stopped = new AbortController();
  const view = await openLockView(databaseUrl).catch(broken);
  const before = (await view?.counters().catch(broken)) ?? null;
  const watching = view === null ? undefined : watch(view, history, stopped.signal).catch(broken);
  const finish = async (): Promise<LockWaitsReport> => {
    stopped.abort();
    await watching;
    const after = (await view?.counters().catch(broken)) ?? null;
    await view?.close();
    const seen = history.all();
    return {
      samples: history.samples,
      seen: seen.length,
      longestMs: seen[0] === undefined ? null : Math.round(seen[0].lastedMs),
      mostAtOnce: history.mostAtOnce,
      examples: examplesOf(seen),
      server: before && after && difference(before, after),
      brokenBecause,
    };
  };
  let report: Promise<LockWaitsReport> | undefined;
  return {
    stop() {
      report ??= finish();
      return report;
    },
  };
}

async function watch(
  view: LockView,
  history: ReturnType<typeof lockHistory>,
  stopped: AbortSignal,
): Promise<void> {
  for (;;) {
    // The last look comes after the end, so that a view that was lost before it is known to have been.
    const last = stopped.aborted;
    history.add(await view.sample(), performance.now());
    if (last) return;
    await sleep(EVERY_MS, undefined, { signal: stopped }).catch(() => undefined);
  }
}

function difference(before: RowLockCounters, after: RowLockCounters): RowLockCounters {
  return { waits: after.waits - before.waits, waitedMs: after.waitedMs - before.waitedMs };
}

/** @param seen  The longest first. */
function examplesOf(seen: readonly SeenWait[]): LockWaitExample[] {
  const examples = new Map<string, LockWaitExample>();
  for (const { wait, lastedMs } of seen) {
    if (examples.size === MOST_EXAMPLES) break;
    const [holder] = wait.holders;
    const text = (statement: string | undefined) =>
      statement === undefined ? null : inOneLine(withoutValues(statement), EXAMPLE_LENGTH);
    const example: LockWaitExample = {
      waiter: text(wait.waiter.statement),
      holder: text(holder?.statement),
      holderIdleInTransaction: holder?.idleInTransaction ?? false,
      table: wait.table ?? null,
      index: wait.index ?? null,
      mode: wait.mode ?? null,
      waitedMs: Math.round(lastedMs),
    };
    const { waiter, table, index, mode } = example;
    const kind = JSON.stringify([waiter, table, index, mode]);
    if (!examples.has(kind)) examples.set(kind, example);
  }
  return [...examples.values()];
}
