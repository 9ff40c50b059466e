import { expect, test } from 'vitest';
import { exitCodeOf, type RecoveryReport, type RunReport } from '../../src/report/report.ts';
import { headingOf, remarksOf, tableOf } from '../../src/report/table.ts';

const latency = { p50: 10, p90: 20, p95: 30, p99: 40, max: 50 };
const ledger = { requests: 12, captures: 10, refunds: 0, ordersRequestedTwice: 1, ordersCapturedTwice: 0 };
const recovery: RecoveryReport = {
  ...{ kind: 'failpoint', cell: 'durable-call.send.after', path: 'paid', faults: 0, attempts: 1 },
  ...{
    struckAt: 'durable-call.send.after',
    completed: 9,
    released: 1,
    refunded: 0,
    tookMs: 1633,
    leftMs: 2867,
  },
};
const good: RunReport = {
  ...{
    schema: 'race-lab/1',
    experiment: 'recovery',
    strategy: 'durable',
    store: 'postgres',
    gateway: 'toss',
  },
  ...{ instances: 4, frontDoor: 'rotate', orders: 10, fanout: 5, seed: 42, commit: 'abc' },
  ...{ startedAt: '2026-01-01T00:00:00.000Z', durationMs: 7000, responses: { 200: 45, 202: 5 }, replays: 36 },
  ...{ patterns: {}, ledger, rows: {}, coupon: null, lock: null, recovery, bystanders: null, database: null },
  ...{ lockWaits: null, violations: [], latencyMs: { all: latency, ok: latency }, arrivalSpreadMs: null },
  control: {
    ...{ strategy: 'conditional-update', orders: 5, ordersRequestedTwice: 0, raced: true },
    showed: 'with conditional-update 5 of 5 orders were charged and not billed',
  },
  ...{ verdict: 'pass', expected: 'holds', asExpected: true, skipped: null, unknownBecause: null },
};
const report = (change: Partial<RunReport>, ofRecovery: Partial<RecoveryReport> = {}): RunReport => ({
  ...good,
  recovery: { ...recovery, ...ofRecovery },
  ...change,
});
const lines = (...reports: RunReport[]) => tableOf(reports).split('\n').slice(2);

const lost = report(
  { gateway: 'generous' },
  {
    kind: 'fault',
    cell: 'garbled',
    path: 'a line',
    struckAt: null,
    faults: 10,
    completed: 10,
    released: 0,
    tookMs: 300,
  },
);
const stood = report({}, { kind: 'standstill', cell: 'stopped-before-settle', refunded: 1 });
const missed = report(
  {
    ...{ verdict: 'fail', asExpected: false },
    violations: [
      { invariant: 'F01', count: 1, first: 'durable-call.wait.after was not passed in 3 attempts' },
    ],
  },
  { cell: 'durable-call.wait.after', struckAt: null },
);

test('each cell has a line, with how its orders ended and how long the last of them took', () => {
  expect(lines(good, lost, stood, missed)).toEqual([
    expect.stringMatching(
      /^durable-call\.send\.after +toss +10 +9 +1 +0 +10 +died +1633 +2867 +10\/30 +holds$/,
    ),
    expect.stringMatching(/^garbled +generous +10 +10 +0 +0 +10 +10 requests +300 +2867 +10\/30 +holds$/),
    expect.stringMatching(/^stopped-before-settle +toss +10 +9 +1 +1 +10 +stood still +1633 /),
    expect.stringMatching(/^durable-call\.wait\.after .* 0 requests .* breaks F01×1 {2}← NOT AS EXPECTED$/),
  ]);
});

test('a failpoint at which nobody died fails the race, and is named', () => {
  expect(exitCodeOf([good, lost, stood])).toBe(0);
  expect(exitCodeOf([good, missed])).toBe(1);
  expect(remarksOf([good, missed])).toEqual([
    'The control breaks: with conditional-update 5 of 5 orders were charged and not billed.',
    '18 orders were paid, 2 given back, 0 refunded; 0 requests to the provider went wrong.',
    '1 of 2 failpoints were passed, and an instance died at each.',
    'NO INSTANCE DIED AT durable-call.wait.after.',
    'The longest took 1633 ms: durable-call.send.after (paid).',
    'durable, durable-call.wait.after: F01 was violated 1 times, first: durable-call.wait.after was not passed in 3 attempts',
  ]);
});

test('a race whose control held proves nothing', () => {
  const held = report({ control: { ...(good.control as NonNullable<RunReport['control']>), raced: false } });
  expect(exitCodeOf([held])).toBe(2);
  expect(remarksOf([held])[0]).toMatch(/^THE CONTROL HELD: /);
});

test('the heading names the providers, and what goes wrong in the cells that are no failpoint', () => {
  expect(headingOf([good, lost])).toEqual([
    'The durable purchase under crashes and faults, 5 simultaneous confirmations of each order, 4 instances in rotation, without nginx, store postgres, gateway toss / generous, seed 42, commit abc',
    'The settings of the database could not be read.',
    expect.stringMatching(/^took: from the death/),
    'garbled: it captures, and answers what nobody can read',
  ]);
});
