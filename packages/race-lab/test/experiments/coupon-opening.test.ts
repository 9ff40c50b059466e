import { expect, test } from 'vitest';
import { newDatabase } from '../../../../test/stores.ts';
import { openAllDay, openFrom, readDatabaseClock } from '../../src/experiments/coupon-opening.ts';
import { monotonicUs } from '../../src/racer/exchange.ts';

/** What the clocks of a zone show, by Node's own calendar. */
function localTime(ms: number, timeZone: string): string {
  return new Date(ms).toLocaleString('sv-SE', { timeZone });
}

test('whenever it is, the zone is one in which it is about noon, and the opening is told by its clock', () => {
  for (let hour = 0; hour < 24; hour++) {
    const nowMs = Date.UTC(2026, 1, 28, hour, 59, 58);
    const { timeZone, openingTime, firstDay, lastDay } = openFrom(nowMs);
    expect(openingTime).toBe('12:59:58');
    const [day, time] = localTime(nowMs, timeZone).split(' ');
    expect([day?.replaceAll('-', ''), time]).toEqual([firstDay, openingTime]);
    expect(Number(lastDay)).toBeGreaterThan(Number(firstDay));
    const allDay = openAllDay(nowMs);
    expect(allDay).toMatchObject({ timeZone, openingTime: '00:00:00' });
    expect(Number(allDay.firstDay)).toBeLessThan(Number(firstDay));
  }
});

test.each(['postgres', 'mariadb'] as const)(
  'the clock of %s is read, and told by the monotonic one',
  async (store) => {
    const clock = await readDatabaseClock(await newDatabase(store));
    // Both are clocks of this machine.
    expect(Math.abs(clock.nowMs - Date.now())).toBeLessThan(5_000);
    const soon = clock.monotonicAt(Date.now() + 1_000);
    const inASecond = soon.atUs - monotonicUs();
    expect(Math.abs(inASecond / 1000 - 1_000)).toBeLessThan(500);
    // Nobody knows better than to half a round trip, and the farther away the less.
    expect(soon.uncertaintyUs).toBeGreaterThan(0);
    const inAnHour = clock.monotonicAt(clock.nowMs + 3_600_000).uncertaintyUs;
    expect(inAnHour - clock.monotonicAt(clock.nowMs).uncertaintyUs).toBeCloseTo(1_800_000);
  },
);
