import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LeaseLostError } from '../src/index.ts';
import { LeaseRenewal, type LeaseRenewalOptions } from '../src/lease-renewal.ts';

const LEASE_MS = 900;
const RENEWED_EVERY_MS = LEASE_MS / 3;

// The clock stands still but for the test, so that a moment is exactly that.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.useRealTimers();
});

function start(more: Partial<LeaseRenewalOptions> = {}): { signal: AbortSignal; told: unknown[] } {
  const told: unknown[] = [];
  const { signal } = new LeaseRenewal({
    leaseMs: LEASE_MS,
    renewForMs: 100 * LEASE_MS,
    claimedAtMs: performance.now(),
    renew: async () => true,
    isFinishing: () => false,
    onFailed: (cause) => told.push(cause),
    onLost: (reason) => told.push(reason),
    ...more,
  });
  return { signal, told };
}

const passes = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const silence = () => new Promise<boolean>(() => undefined);
const answersAfter = (ms: number) => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), ms));

test('a lease that is renewed lives for many lengths of it', async () => {
  const { signal, told } = start();
  await passes(20 * LEASE_MS);
  expect([signal.aborted, told]).toEqual([false, []]);
});

test('who does not hold it any more is told at the next renewal, long before it would end', async () => {
  const { signal, told } = start({ renew: async () => false });
  await passes(RENEWED_EVERY_MS);
  expect(signal.reason).toBeInstanceOf(LeaseLostError);
  expect(told).toEqual([signal.reason]);
});

test('it begins before the claim was sent, however long its answer took', async () => {
  const { signal } = start({ claimedAtMs: performance.now() - 800, renew: silence });
  // A renewal is due at once, and is waited for until the next would be.
  await passes(RENEWED_EVERY_MS - 1);
  expect(signal.aborted).toBe(false);
  await passes(1);
  expect(signal.aborted).toBe(true);
});

test('it is prolonged from when the renewal was sent, however long its answer took', async () => {
  let renewals = 0;
  const { signal } = start({ renew: () => (renewals++ === 0 ? answersAfter(200) : silence()) });
  await passes(RENEWED_EVERY_MS + LEASE_MS - 1);
  expect(signal.aborted).toBe(false);
  await passes(1);
  expect(signal.aborted).toBe(true);
});

test('a renewal that fails is made up for by the next', async () => {
  let renewals = 0;
  const failure = new Error('down');
  const { signal, told } = start({
    renew: () => (renewals++ === 0 ? Promise.reject(failure) : Promise.resolve(true)),
  });
  await passes(10 * LEASE_MS);
  expect([signal.aborted, told]).toEqual([false, [failure]]);
});

test('it is renewed for renewForMs and no longer', async () => {
  const { signal } = start({ renewForMs: 2 * LEASE_MS });
  await passes(3 * LEASE_MS - 1);
  expect(signal.aborted).toBe(false);
  await passes(1);
  expect(signal.aborted).toBe(true);
});

test('while its holder is finishing it does not count as lost for want of an answer, and then it does', async () => {
  let finishing = true;
  const { signal } = start({ renew: silence, isFinishing: () => finishing });
  await passes(5 * LEASE_MS);
  expect(signal.aborted).toBe(false);
  finishing = false;
  await passes(LEASE_MS);
  expect(signal.aborted).toBe(true);
});

test('after a standstill the renewal decides, and not the timer that is overdue too', async () => {
  const { signal, told } = start({ renew: () => answersAfter(50) });
  // The process stands still until long after the end, and then both timers run at once.
  const after = performance.now() + 2 * LEASE_MS;
  const standstill = vi.spyOn(performance, 'now').mockReturnValue(after);
  vi.advanceTimersByTime(LEASE_MS);
  standstill.mockRestore();
  expect(signal.aborted).toBe(false);
  await passes(50);
  expect([signal.aborted, told]).toEqual([false, []]);
});

test('a lease that could not be confirmed is renewed all the same, so that nobody need take it over', async () => {
  let down = true;
  let renewals = 0;
  const renew = async () => {
    if (down) throw new Error('down');
    renewals++;
    return true;
  };
  const { signal, told } = start({ renew });
  await passes(LEASE_MS + 1);
  expect(signal.aborted).toBe(true);
  down = false;
  await passes(5 * LEASE_MS);
  expect(renewals).toBeGreaterThanOrEqual(10);
  expect(told.filter((one) => one instanceof LeaseLostError)).toHaveLength(1);
});

test('a renewal that is never answered does not keep the next ones from being sent', async () => {
  let renewals = 0;
  start({
    renew: () => {
      renewals++;
      return silence();
    },
  });
  await passes(10 * LEASE_MS);
  expect(renewals).toBeGreaterThanOrEqual(5);
});
