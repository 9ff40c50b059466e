import { StoreError } from 'pawl';
import type { ShopDatabase, ShopSql } from '../../store/database.ts';
import type { CounterState, Stock, StockCounter } from './stock-counter.ts';
import { readCouponsOnOffer, readIssuedAmong, readStocks } from './stock-rows.ts';

export interface StockReconcilerOptions {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  readonly counter: StockCounter;
  /** Between the end of a round and the next, in milliseconds; half of it is left to chance. */
  readonly everyMs: number;
  /** How old a reservation without an outcome is when the rows are asked for it, in milliseconds. */
  readonly reservationMs: number;
  /** Told of a round that changed something. */
  onMended(mended: Mended): void;
  /** Told of a round that failed, in whole or in part. The next one comes all the same. */
  onTrouble(message: string, details: Readonly<Record<string, unknown>>): void;
}

/** What a round has changed. */
export interface Mended {
  /** Reservations whose issue is among the rows. */
  readonly confirmed: number;
  /** Reservations of which the rows know nothing. */
  readonly givenBack: number;
  /** Counters that said something else than the rows. */
  readonly corrected: number;
}

export interface StockReconciler {
  /** Begins to make rounds by itself. */
  start(): void;
  /** Makes one round, after the one that is under way. Never throws. */
  reconcileOnce(): Promise<Mended>;
  /** No further round; resolves when the one under way has ended, at the latest after the coupon that it is at. */
  close(): Promise<void>;
}

/** Coupons, and reservations of one coupon, that are looked at in one go. */
const BATCH = 100;

/**
 * Brings the counters in Redis to what the rows say, on every instance at the same time: it changes nothing that somebody
 * else has changed meanwhile.
 *
 * Reservations that are older than `reservationMs` get the outcome that the rows show. Then a counter of which nothing is
 * reserved is compared with its rows, and set to them unless it has changed since it was read. Redis is read first:
 *
 *     reconciler  reads the rows: 10 left
 *     owner       commits, 9 left; confirms
 *     reconciler  reads the counter: 9 left, nothing reserved; sets it to 10
 *
 * The other way round the rows are as new as the counter or newer, and never too low, since nothing is put back into them.
 */
export function stockReconciler(options: StockReconcilerOptions): StockReconciler {
  let closing = false;
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<unknown> = Promise.resolve();

  function reconcileOnce(): Promise<Mended> {
    const round = underWay.then(() => makeRound(options, () => closing));
    underWay = round;
    return round;
  }

  function schedule(): void {
    if (closing) return;
    const pauseMs = options.everyMs * (0.5 + Math.random() / 2);
    timer = setTimeout(() => void reconcileOnce().then(schedule), pauseMs);
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

async function makeRound(options: StockReconcilerOptions, isClosing: () => boolean): Promise<Mended> {
  const mended = { confirmed: 0, givenBack: 0, corrected: 0 };
  const failures: unknown[] = [];

  /** A coupon that fails must not keep the others from being looked at; but without a store none can be. */
  async function each<Item>(items: Iterable<Item>, look: (item: Item) => Promise<void>): Promise<void> {
    for (const item of items) {
      if (isClosing()) return;
      try {
        await look(item);
      } catch (error) {
        if (isGone(error)) throw error;
        failures.push(error);
      }
    }
  }

  try {
    for await (const couponIds of readCouponsOnOffer(options.db, options.sql, BATCH)) {
      const idle = new Map<string, CounterState>();
      await each(couponIds, async (couponId) => {
        const state = await settleOpen(options, couponId, mended);
        if (state.stock !== null && state.reserved === 0) idle.set(couponId, state);
      });
      const rows = await readStocks(options.db, [...idle.keys()]);
      await each(idle, async ([couponId, { stock, revision }]) => {
        const truth = rows.get(couponId);
        if (truth === undefined || stock === null || isSame(stock, truth)) return;
        if (await options.counter.correct(couponId, revision, truth)) mended.corrected++;
      });
      if (isClosing()) break;
    }
  } catch (error) {
    failures.push(error);
  }
  if (failures.length > 0) {
    const details = { failures: failures.length, cause: failures[0] };
    options.onTrouble('the counters of coupons could not be compared with the rows', details);
  }
  if (mended.confirmed + mended.givenBack + mended.corrected > 0) options.onMended(mended);
  return mended;
}

/** Gives old reservations the outcome that the rows show. Answers the counter as it is afterwards. */
async function settleOpen(
  { db, counter, reservationMs }: StockReconcilerOptions,
  couponId: string,
  mended: { confirmed: number; givenBack: number },
): Promise<CounterState> {
  const state = await counter.read(couponId);
  if (state.reserved === 0) return state;
  for (;;) {
    const open = await counter.openReservations(couponId, reservationMs, BATCH);
    if (open.length === 0) return counter.read(couponId);
    const memberIds = open.map(({ memberId }) => memberId);
    const issued = await readIssuedAmong(db, couponId, memberIds);
    for (const { reservation, memberId } of open) {
      if (issued.has(memberId)) {
        if (await counter.confirm(couponId, reservation)) mended.confirmed++;
      } else if (await counter.giveBack(couponId, reservation)) mended.givenBack++;
    }
  }
}

function isSame(counted: Stock, truth: Stock): boolean {
  if (counted.remaining !== truth.remaining || counted.dailyQuota !== truth.dailyQuota) return false;
  if (counted.quotaDay === truth.quotaDay) return counted.quotaUsed === truth.quotaUsed;
  // A day has begun whose first reservation came to nothing; the rows do not know of it.
  return counted.quotaUsed === 0 && (counted.quotaDay ?? '') > (truth.quotaDay ?? '');
}

function isGone(error: unknown): boolean {
  return error instanceof StoreError && (error.code === 'UNAVAILABLE' || error.code === 'CONNECTION_LOST');
}
