import { expect, test } from 'vitest';
import type { Cluster } from '../../src/cluster/cluster.ts';
import { failpointCell, type RecoveryCell } from '../../src/experiments/recovery-cells.ts';
import { faultCell } from '../../src/experiments/recovery-faults.ts';
import { recoveryReport } from '../../src/experiments/recovery-report.ts';
import type { CellSeen } from '../../src/experiments/recovery-wave.ts';
import { answer, call, evidence, order, paid, replayed } from '../checkers/histories.ts';

const cluster = { instances: [{}, {}], frontDoor: { kind: 'nginx' } } as unknown as Cluster;
const setting = { store: 'postgres', gateway: 'toss', seed: 42, commit: 'abc' };
const run = {
  ...({ experiment: 'recovery', strategy: 'durable', orders: 2, fanout: 5 } as const),
  ...{ setting, database: null },
};
const failpoint = 'durable-call.send.after';

/** Two orders, struck at 1800 and healed at 2000, of which the second was settled last. */
function seen(cell: RecoveryCell, change: Partial<CellSeen> = {}): CellSeen {
  const promise = {
    ...{ struckAtMs: 1800, healedAtMs: 2000, withinMs: 3500, mayOutlastSession: false, afterSessionMs: 2000 },
    ends: ['COMPLETE'],
  };
  return {
    cell,
    startedAt: new Date(),
    evidence: {
      ...evidence(paid('a', {}, [replayed]), paid('b', {}, [replayed])),
      calls: [call('a'), call('b', { changedAtMs: 3300, fence: 2 })],
      promises: new Map([
        ['a', promise],
        ['b', promise],
      ]),
    },
    ...{ standsOver: undefined, struckAt: failpoint, faults: 0 },
    ...change,
  };
}
const reportOf = (one: CellSeen, ended: readonly string[] = [], attempts = 1) =>
  recoveryReport(cluster, run, { database: null, ended: new Set(ended) }, one, attempts);

test('a cell tells how its orders ended, from the strike to the last of them, and what was left of its time', () => {
  expect(reportOf(seen(failpointCell(failpoint)))).toMatchObject({
    ...{ verdict: 'pass', asExpected: true, violations: [], unknownBecause: null, orders: 2 },
    recovery: {
      ...{ kind: 'failpoint', cell: failpoint, path: 'paid', struckAt: failpoint, faults: 0, attempts: 1 },
      ...{ completed: 2, released: 0, refunded: 0, tookMs: 1500, leftMs: 2200 },
    },
  });
});

test('a failpoint at which nobody died fails, although nothing went wrong', () => {
  expect(reportOf(seen(failpointCell(failpoint), { struckAt: null }), [], 3)).toMatchObject({
    ...{ verdict: 'fail', asExpected: false, unknownBecause: null },
    violations: [
      { invariant: 'F01', count: 1, first: `${failpoint} was not passed in 3 attempts, or not 1 times` },
    ],
  });
});

test('an order that was lost fails, whatever else is to be said', () => {
  const good = seen(failpointCell(failpoint));
  const rows = { ...good.evidence.rows, orders: [order('a'), order('b', { status: 'PENDING' })] };
  const lost = { ...good, evidence: { ...good.evidence, rows } };
  const { verdict, violations } = reportOf(lost, ['redis']);
  expect(verdict).toBe('fail');
  expect(violations.map(({ invariant }) => invariant)).toContain('I8');
});

test('a server that ended by itself makes it unknown', () => {
  expect(reportOf(seen(failpointCell(failpoint)), ['payment-sandbox'])).toMatchObject({
    ...{ verdict: 'unknown', asExpected: false },
    unknownBecause: 'payment-sandbox had ended by itself',
  });
});

test('a fault that struck hardly anything says nothing', () => {
  const provider = { gateway: 'toss', replayErrors: true } as const;
  for (const name of ['garbled', 'wrong-credentials'] as const) {
    const [cell] = faultCell(name, provider);
    if (cell === undefined) throw new Error('there is no such cell');
    const struck = (faults: number) => reportOf(seen(cell, { struckAt: null, faults })).verdict;
    expect(struck(0)).toBe('unknown');
    expect(struck(1)).toBe('pass');
  }
});

test('an owner that goes on and does not tell its client what is true fails', () => {
  const [cell] = faultCell('stopped-before-settle', { gateway: 'toss', replayErrors: true });
  if (cell === undefined) throw new Error('there is no such cell');
  const good = seen(cell, { standsOver: 'a-r0' });
  expect(reportOf(good).verdict).toBe('pass');
  const answers = [answer('a', 'a-r0', { status: 202 }), ...good.evidence.answers.slice(1)];
  const { verdict, violations } = reportOf({ ...good, evidence: { ...good.evidence, answers } });
  expect(verdict).toBe('fail');
  expect(violations).toEqual([
    { invariant: 'I8', count: 1, first: expect.stringContaining('whose owner stood still') },
  ]);
});
