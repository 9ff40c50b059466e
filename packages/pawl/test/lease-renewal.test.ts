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
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function start(more: Partial<LeaseRenewalOptions> = {}): {
  renewal: LeaseRenewal;
  signal: AbortSignal;
  told: unknown[];
} {
  const told: unknown[] = [];
  const renewal = new LeaseRenewal({
    leaseMs: LEASE_MS,
    renewForMs: 100 * LEASE_MS,
    claimedAtMs: performance.now(),
    renew: async () => true,
    isFinishing: () => false,
    onFailed: (cause) => told.push(cause),
    onLost: (reason) => told.push(reason),
    ...more,
  });
  return { renewal, signal: renewal.signal, told };
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

test.each([
  ['succeeds', async () => true, false],
  ['is not answered', silence, true],
])(
  'after a standstill the end waits for a renewal that is due and was not sent: one that %s',
  async (_, renew, lost) => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    let renewals = 0;
    const { signal } = start({ renew: () => (renewals++ === 0 ? Promise.resolve(true) : renew()) });
    // From the first renewal on the end is waited for.
    await passes(RENEWED_EVERY_MS);
    const end = timers.mock.calls.find(([, ms]) => ms === LEASE_MS)?.[0];
    if (end === undefined) throw new Error('nothing waits for the end');
    timers.mockRestore();
    const standstill = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 2 * LEASE_MS);
    // Its timer may be the first of those that are overdue.
    end();
    expect(signal.aborted).toBe(false);
    standstill.mockRestore();
    await passes(4 * LEASE_MS);
    expect(signal.aborted).toBe(lost);
  },
);

test('who looks after a standstill is told before any timer runs; the lease is renewed all the same', async () => {
  let renewals = 0;
  const { renewal, signal, told } = start({ renew: async () => renewals++ >= 0 });
  await passes(RENEWED_EVERY_MS);
  const confirmedMs = performance.now();
  const standstill = vi.spyOn(performance, 'now').mockReturnValue(confirmedMs + LEASE_MS - 1);
  renewal.look();
  expect(signal.aborted).toBe(false);
  standstill.mockReturnValue(confirmedMs + LEASE_MS);
  renewal.look();
  expect(signal.reason).toBeInstanceOf(LeaseLostError);
  renewal.look();
  standstill.mockRestore();
  await passes(3 * LEASE_MS);
  expect([renewals, told]).toEqual([10, [signal.reason]]);
});

test('who looks while he is finishing, or when it is over, is told of nothing', async () => {
  let finishing = true;
  const { renewal, signal } = start({ renew: silence, isFinishing: () => finishing });
  await passes(2 * LEASE_MS);
  renewal.look();
  renewal.stop();
  finishing = false;
  renewal.look();
  expect(signal.aborted).toBe(false);
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
