import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LeaseLostError } from '../src/index.ts';
import { LeaseRenewal, type LeaseRenewalOptions } from '../src/lease-renewal.ts';

const LEASE_MS = 900;
const RENEWED_EVERY_MS = LEASE_MS / 3;

// The clock stands still but for the test, so that a moment is exactly that.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
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
    mayBeLost: () => true,
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
  await passes(LEASE_MS - 800 - 1);
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

test('while it may not be said to be lost it is not, and then it is', async () => {
  let completing = true;
  const { signal } = start({ renew: async () => false, mayBeLost: () => !completing });
  await passes(5 * LEASE_MS);
  expect(signal.aborted).toBe(false);
  completing = false;
  await passes(LEASE_MS);
  expect(signal.aborted).toBe(true);
});
