import { Temporal } from 'temporal-polyfill';

/** The local time at which a day's sale begins when nobody says otherwise. */
export const MIDNIGHT = '00:00:00';

/** When a coupon is handed out: each day of a period, from a time of day until midnight, in a time zone. */
export interface DownloadWindow {
  /** First day, `yyyy-mm-dd`. */
  readonly startDate: string;
  /** Last day, `yyyy-mm-dd`. */
  readonly endDate: string;
  /** `HH:mm:ss`. */
  readonly openingTime: string;
  /** As the IANA names it, such as `Asia/Seoul`. */
  readonly timeZone: string;
}

/**
 * What day it is in the window's time zone, `yyyy-mm-dd`, and whether the window is open.
 *
 * It is decided between points in time, not by the face of a clock: where the clocks go back, a day shows the same time
 * twice, and what has opened stays open. An opening time that the clocks skip is as much later as they skip, and one that
 * they show twice is the first (RFC 5545, section 3.3.5).
 */
export function atMoment(window: DownloadWindow, now: Date): AtMoment {
  const second = Math.floor(now.getTime() / SECOND_MS);
  if (second !== known.second) known = { second, answers: [] };
  const found = known.answers.find((one) => one.window === window || isSame(one.window, window));
  if (found !== undefined) return found.at;
  const at = lookUp(window, now);
  if (known.answers.length < MOST_KNOWN) known.answers.push({ window, at });
  return at;
}

export interface AtMoment {
  /** `yyyy-mm-dd` */
  readonly day: string;
  readonly open: boolean;
}

const SECOND_MS = 1_000;
/** Windows that are looked through for each question. */
const MOST_KNOWN = 16;

/**
 * What was last asked of a second, within which nothing changes: clocks are moved, days end and windows open with a whole one. Thousands
 * share it where many ask, and the calendar takes longer than all else.
 */
let known: {
  readonly second: number;
  readonly answers: { readonly window: DownloadWindow; readonly at: AtMoment }[];
} = { second: Number.NaN, answers: [] };

function isSame(one: DownloadWindow, other: DownloadWindow): boolean {
  return (
    one.startDate === other.startDate &&
    one.endDate === other.endDate &&
    one.openingTime === other.openingTime &&
    one.timeZone === other.timeZone
  );
}

function lookUp(window: DownloadWindow, now: Date): AtMoment {
  const instant = Temporal.Instant.fromEpochMilliseconds(now.getTime());
  const today = instant.toZonedDateTimeISO(window.timeZone).toPlainDate();
  const day = today.toString();
  const withinPeriod = window.startDate <= day && day <= window.endDate;
  return { day, open: withinPeriod && Temporal.Instant.compare(opening(window, today), instant) <= 0 };
}

function opening({ timeZone, openingTime }: DownloadWindow, day: Temporal.PlainDate): Temporal.Instant {
  // Midnight is the day's first moment, also where the clocks skip it.
  const at =
    openingTime === MIDNIGHT
      ? day.toZonedDateTime(timeZone)
      : day.toZonedDateTime({ timeZone, plainTime: openingTime });
  return at.toInstant();
}

/** Reads `yyyyMMdd` as `yyyy-mm-dd`; undefined where the calendar has no such day. */
export function parseDay(text: string): string | undefined {
  try {
    return Temporal.PlainDate.from(text).toString();
  } catch {
    return undefined; // It says so of a day that does not exist, and of nothing else in eight digits.
  }
}

/** `yyyy-mm-dd` as `yyyyMMdd`. */
export function compactDay(day: string): string {
  return day.slice(0, 4) + day.slice(5, 7) + day.slice(8);
}

/** What else Temporal takes for a time zone, an offset or a whole date and time with one, is no name. */
const TIME_ZONE_NAME = /^[A-Za-z][A-Za-z0-9_+/-]*$/;

export function isTimeZoneName(name: string): boolean {
  if (!TIME_ZONE_NAME.test(name)) return false;
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name);
    return true;
  } catch {
    return false; // It says so of a name that it does not know.
  }
}
