/** A moment by the monotonic clock, which all processes of a machine share. */
export type Moment = readonly [seconds: number, nanoseconds: number];

const NANOSECONDS = 1_000_000_000;

export function momentIn(ms: number): Moment {
  const [seconds, nanoseconds] = process.hrtime();
  const later = nanoseconds + Math.round(ms * 1e6);
  return [seconds + Math.floor(later / NANOSECONDS), later % NANOSECONDS];
}

/** How long ago it was, in milliseconds, to the nanosecond; negative while it is still to come. */
export function msSince([seconds, nanoseconds]: Moment): number {
  const [nowSeconds, nowNanoseconds] = process.hrtime();
  return (nowSeconds - seconds) * 1e3 + (nowNanoseconds - nanoseconds) / 1e6;
}

/** A timer may be late by so much, in milliseconds. */
const TIMER_SLACK_MS = 5;

/** Resolves at that moment, to some microseconds: at last it waits without letting anything else run. */
export async function arrive(moment: Moment): Promise<void> {
  const leftMs = -msSince(moment);
  if (leftMs > TIMER_SLACK_MS) await new Promise((resolve) => setTimeout(resolve, leftMs - TIMER_SLACK_MS));
  while (msSince(moment) < 0);
}
