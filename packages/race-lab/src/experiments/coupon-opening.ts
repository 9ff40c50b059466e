import { withDatabase } from '../cluster/database-session.ts';
import { databaseKind } from '../cluster/store.ts';
import { monotonicUs } from '../racer/exchange.ts';
import type { Opening } from './coupon-client.ts';

const STATEMENT_LIMIT_MS = 10_000;
/** How often the clock is asked: the answer that came quickest says most. */
const LOOKS = 5;
/** The most by which a clock is slewed that is kept by NTP. */
const MOST_DRIFT = 0.0005;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const nowStatement = {
  postgres: 'SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now_ms',
  mysql: 'SELECT UNIX_TIMESTAMP(SYSDATE(6)) * 1000 AS now_ms',
};

/** The database's clock, which decides what is open, beside the lab's. */
export interface DatabaseClock {
  /** Milliseconds since 1970 by the database when it was asked last. */
  nowMs: number;
  /** When it shows `databaseMs`, by the monotonic clock, in microseconds: not sooner and not later than by `uncertaintyUs`. */
  monotonicAt(databaseMs: number): { atUs: number; uncertaintyUs: number };
}

/**
 * Reads the database's clock, right to half a round trip, and to as much as it may drift until the moment that is asked for.
 * That it is not set meanwhile is taken for granted.
 *
 * @throws the driver's error
 */
export function readDatabaseClock(databaseUrl: string): Promise<DatabaseClock> {
  return withDatabase(databaseUrl, STATEMENT_LIMIT_MS, async (query) => {
    let quickest = { tookUs: Number.POSITIVE_INFINITY, nowMs: 0, atUs: 0 };
    for (let look = 0; look < LOOKS; look++) {
      const askedAtUs = monotonicUs();
      const [row] = await query(nowStatement[databaseKind(databaseUrl)]);
      const tookUs = monotonicUs() - askedAtUs;
      if (tookUs > quickest.tookUs) continue;
      quickest = { tookUs, nowMs: Number(row?.now_ms), atUs: askedAtUs + tookUs / 2 };
    }
    const { nowMs, atUs, tookUs } = quickest;
    return {
      nowMs,
      monotonicAt(databaseMs) {
        const awayUs = (databaseMs - nowMs) * 1000;
        return { atUs: atUs + awayUs, uncertaintyUs: tookUs / 2 + Math.abs(awayUs) * MOST_DRIFT };
      },
    };
  });
}

/** Open all day, yesterday, today and tomorrow. */
export function openAllDay(nowMs: number): Opening {
  const { timeZone, localMs } = aboutNoon(nowMs);
  return {
    timeZone,
    openingTime: '00:00:00',
    firstDay: dayOf(localMs - DAY_MS),
    lastDay: dayOf(localMs + DAY_MS),
  };
}

/**
 * Opens for the first time at a moment near now, and every day until tomorrow.
 *
 * @param opensAtMs  A whole second, in milliseconds since 1970.
 */
export function openFrom(opensAtMs: number): Opening {
  const { timeZone, localMs } = aboutNoon(opensAtMs);
  return {
    timeZone,
    openingTime: new Date(localMs).toISOString().slice(11, 19),
    firstDay: dayOf(localMs),
    lastDay: dayOf(localMs + DAY_MS),
  };
}

/**
 * A time zone in which it is between 12 and 13 o'clock, so that no run goes over its midnight, and its clock as that of
 * a UTC which is as late. Zones named by their offset have no daylight saving, and count it the other way round.
 */
function aboutNoon(nowMs: number): { timeZone: string; localMs: number } {
  const hours = 12 - new Date(nowMs).getUTCHours();
  const timeZone = hours === 0 ? 'Etc/GMT' : `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`;
  return { timeZone, localMs: nowMs + hours * HOUR_MS };
}

/** `yyyyMMdd` */
function dayOf(localMs: number): string {
  return new Date(localMs).toISOString().slice(0, 10).replaceAll('-', '');
}
