import { failpointNames } from 'pawl/failpoints';
import { describe, expect, test } from 'vitest';
import { planRace, type RaceArguments } from '../../src/commands/plan-race.ts';
import { failpointCell, type RecoveryCell } from '../../src/experiments/recovery-cells.ts';
import { faultCell, recoveryFaultNames } from '../../src/experiments/recovery-faults.ts';
import { recoveryPaths } from '../../src/experiments/recovery-paths.ts';
import { wavesOf } from '../../src/experiments/recovery-plan.ts';
import { recoveryTimes } from '../../src/experiments/recovery-settings.ts';

const toss = { gateway: 'toss', replayErrors: true } as const;
const fresh = { gateway: 'toss', replayErrors: false } as const;
const generous = { gateway: 'generous', replayErrors: false } as const;

describe('cells', () => {
  test('every failpoint of the library lies on a path, on which an instance dies at it', () => {
    const cells = failpointNames.map(failpointCell);
    expect(cells.map(({ name }) => name)).toEqual([...failpointNames]);
    for (const { name, victim } of cells) expect(victim).toMatchObject({ does: 'dies', at: name });
  });

  test('a failpoint of which nobody knows where it lies is an error, not a cell that nothing happens in', () => {
    expect(() => failpointCell('durable-call.new-step.before' as never)).toThrow(/no path is known/);
  });

  test('with a provider that repeats its errors, or knows no keys, an order may last until its session is over', () => {
    const mayLast = (provider: typeof toss | typeof fresh | typeof generous) =>
      recoveryFaultNames.filter((name) =>
        faultCell(name, provider).some(({ path }) => path.mayOutlastSession),
      );
    expect(mayLast(fresh)).toEqual(['stopped-before-charge']);
    expect(mayLast(toss)).toEqual(['error-before', 'stopped-before-charge']);
    expect(mayLast(generous)).toEqual([
      'error-before',
      'reset-before',
      'silence-before',
      'wrong-credentials',
    ]);
  });

  test('a captured payment is found in time even where a provider knows no keys', () => {
    const [cell] = faultCell('reset-after', generous);
    expect(cell?.path.mayOutlastSession).toBeUndefined();
  });

  test('what is delayed has longer sessions, which outlast the delay', () => {
    for (const name of ['late-capture', 'late-answer'] as const) {
      const [cell] = faultCell(name, toss);
      expect(cell?.delayMs).toBe(30_000);
      expect(cell?.sessionMs).toBeGreaterThan(cell?.delayMs ?? 0);
    }
  });

  test('the lag of a look-up is less than the margin after a session', () => {
    const lags = (faultCell('look-up-lags', toss)[0]?.path.faults ?? []).flatMap(({ fault }) =>
      fault.kind === 'lag' ? [fault.lagMs] : [],
    );
    expect(Math.max(...lags)).toBeLessThan(recoveryTimes.marginMs);
  });

  test('what a draw waits for is heard by the shop in time', () => {
    const [{ fault }] = recoveryPaths.drawn.faults;
    expect(fault.kind === 'slow' && fault.delayMs < recoveryTimes.timeoutMs).toBe(true);
  });
});

describe('waves', () => {
  const named = (waves: RecoveryCell[][]) => waves.map((wave) => wave.map(({ name }) => name));

  test('one instance at least is left unharmed, and every cell is raced once', () => {
    const cells = failpointNames.map(failpointCell);
    for (const instances of [2, 4]) {
      const waves = wavesOf(cells, instances);
      expect(Math.max(...waves.map(({ length }) => length))).toBe(instances - 1);
      expect(named(waves).flat().toSorted()).toEqual([...failpointNames].toSorted());
    }
  });

  test('what waits for a session, what is delayed, and who stands still are not beside others', () => {
    const waves = wavesOf(
      recoveryFaultNames.flatMap((name) => faultCell(name, toss)),
      4,
    );
    const kinds = ({ victim, sessionMs, path }: RecoveryCell) =>
      JSON.stringify([victim?.does, sessionMs, path.mayOutlastSession]);
    for (const wave of waves) expect(new Set(wave.map(kinds)).size).toBe(1);
  });
});

describe('the race', () => {
  const given: RaceArguments = {
    ...{ experiment: 'recovery', strategy: undefined, scenario: undefined, fault: undefined },
    ...{ failpoint: undefined, instances: undefined, orders: undefined, fanout: undefined },
    ...{ purchases: undefined, seconds: undefined, runs: undefined, store: 'postgres', gateway: undefined },
    seed: 42,
  };
  const gateways = (change: Partial<RaceArguments>) =>
    planRace({ ...given, ...change }).stages.map(({ cluster }) => [
      cluster.gateway,
      cluster.sandboxEnv?.REPLAY_ERRORS,
    ]);

  test('everything is raced with a provider that repeats its errors, with one that does not, and with one without keys', () => {
    expect(gateways({})).toEqual([
      ['toss', '1'],
      ['toss', '0'],
      ['generous', '0'],
    ]);
  });

  test('who names failpoints means these alone', () => {
    expect(gateways({ failpoint: ['durable-call.send.after'] })).toEqual([['toss', '1']]);
  });

  test('who names standstills has them with idempotency keys only', () => {
    expect(gateways({ fault: ['stopped-before-settle'], gateway: 'toss' })).toEqual([['toss', '1']]);
  });

  test('what is raced again is named whole', () => {
    const { again } = planRace({
      ...given,
      failpoint: ['all'],
      fault: ['truncated'],
      gateway: 'toss',
      orders: 3,
    });
    expect(again).toBe(
      'recovery --store postgres --instances 4 --seed 42 --orders 3 --failpoint all --fault truncated --gateway toss',
    );
  });

  test.each([
    [{ gateway: 'as-published' }, /--gateway toss or generous/],
    [{ instances: 1 }, /2 instances at least/],
    [{ failpoint: ['durable-call.x'] }, /--failpoint must be one of durable-call.claim.before/],
    [{ fault: ['flood'] }, /--fault must be one of error-before/],
    [{ failpoint: ['all'], gateway: 'generous' }, /--gateway toss/],
    [{ runs: 2 }, /--runs has no meaning in the experiment recovery/],
    [{ strategy: ['durable'] }, /--strategy has no meaning in the experiment recovery/],
    [{ experiment: 'lock', failpoint: ['all'] }, /--failpoint has no meaning in the experiment lock/],
  ] as [Partial<RaceArguments>, RegExp][])('%o is refused', (change, message) => {
    expect(() => planRace({ ...given, ...change })).toThrow(message);
  });
});
