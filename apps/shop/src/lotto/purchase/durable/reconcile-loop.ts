import { type Reconciled, type Reconciliation, reconcile } from './reconcile.ts';

export interface ReconcileLoopOptions<Transaction> extends Reconciliation<Transaction> {
  /** Between two rounds, in milliseconds; half of it is left to chance. 0: never. */
  readonly everyMs: number;
  /** How old a capture must be before it is looked at, in milliseconds: its own purchase is still being written before. */
  readonly graceMs: number;
  /** How far back the first round looks, in milliseconds. */
  readonly lookBackMs: number;
  /** Told of a round that found something. */
  onFound(reconciled: Reconciled): void;
  /** Told of a round that failed. The next one begins where it began. */
  onTrouble(cause: unknown): void;
}

/** Of every round, what the next one looks at once more, in milliseconds: clocks differ, and records come late. */
const OVERLAP_MS = 10 * 60_000;

export interface ReconcileLoop {
  start(): void;
  /** Makes one round, after the one that is under way. Never throws. @returns undefined when it failed. */
  reconcileOnce(): Promise<Reconciled | undefined>;
  /** No further round; resolves when the one under way has ended. */
  close(): Promise<void>;
}

/** Reconciles again and again. On every instance, since what it finds is recorded once. */
export function reconcileLoop<Transaction>(options: ReconcileLoopOptions<Transaction>): ReconcileLoop {
  let closing = false;
  let timer: NodeJS.Timeout | undefined;
  let reconciledMs = Date.now() - options.lookBackMs;
  let underWay: Promise<unknown> = Promise.resolve();

  async function makeRound(): Promise<Reconciled | undefined> {
    const toMs = Date.now() - options.graceMs;
    // Whatever this process took for the time before: its clock may have been put back.
    const fromMs = Math.min(reconciledMs, toMs - OVERLAP_MS);
    try {
      const reconciled = await reconcile(options, new Date(fromMs), new Date(toMs));
      reconciledMs = toMs - OVERLAP_MS;
      const { strays, stuck, unreadable } = reconciled;
      if (strays.length + stuck.length + unreadable.length > 0) options.onFound(reconciled);
      return reconciled;
    } catch (cause) {
      options.onTrouble(cause);
      return undefined;
    }
  }

  function reconcileOnce(): Promise<Reconciled | undefined> {
    const round = underWay.then(makeRound);
    underWay = round;
    return round;
  }

  function schedule(): void {
    if (closing || options.everyMs === 0) return;
    timer = setTimeout(
      () => void reconcileOnce().then(schedule),
      options.everyMs * (0.5 + Math.random() / 2),
    );
  }

  return {
    start: schedule,
    reconcileOnce,
    async close() {
      closing = true;
      clearTimeout(timer);
      await underWay;
    },
  };
}
