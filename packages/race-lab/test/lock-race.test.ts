import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockFaultNames, queueGoesOn } from '../src/nemesis/lock-fault-names.ts';
import type { RunReport } from '../src/report/report.ts';
import { nothing, read, remainsOf, temporaryDirectory, until } from './cluster/helpers.ts';
import { ON_TWO, run, start } from './lab-command.ts';

/** Races locks on a private cluster, and reads the reports. */
async function race(...args: string[]) {
  const tmp = temporaryDirectory();
  const json = join(tmp, 'reports.json');
  const ended = await run('race', 'lock', ...args, '--json', json);
  const reports: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
  expect(remainsOf(tmp)).toEqual({ files: ['reports.json'], processes: [] });
  return { ...ended, reports };
}

test('with fencing no fault writes a wrong row or charges twice, and the queue goes on', async () => {
  const { code, out, reports } = await race(
    '--strategy',
    'redis-lock-fenced,distributed-lock-fenced',
    '--runs',
    '1',
  );
  expect(reports.map(({ lock }) => lock?.fault)).toEqual([...lockFaultNames, ...lockFaultNames]);
  for (const { lock, ...report } of reports) {
    expect(report, lock?.did ?? '').toMatchObject({
      ...{ schema: 'race-lab/1', experiment: 'lock', instances: 4, seed: 42, coupon: null },
      ...{ violations: [], verdict: 'pass', expected: 'holds', asExpected: true, control: { raced: true } },
    });
    expect(lock).toMatchObject({ leaseMs: 500, did: expect.any(String), damage: null });
    expect(lock?.sections).toBeGreaterThan(1);
    if (lock !== null && queueGoesOn.includes(lock.fault)) {
      expect(lock.standstillMs).toBeLessThanOrEqual(lock.standstillLimitMs ?? 0);
    } else expect(lock?.standstillLimitMs).toBeNull();
    if (report.strategy === 'redis-lock-fenced') {
      expect((lock?.stock?.issued ?? 0) + (lock?.stock?.remaining ?? 0)).toBe(1000);
    } else expect(report.ledger).toMatchObject({ captures: 1, ordersCapturedTwice: 0 });
  }
  const [stopped] = reports;
  // Two had it, and the first was refused when it went on.
  expect(stopped?.lock?.overlaps).toBeGreaterThan(0);
  expect(stopped?.lock?.refusals.fenced).toBe(1);
  expect(out).toContain('The race is real: without a guard ');
  expect(out).toContain(
    'npm run race -- lock --strategy redis-lock-fenced,distributed-lock-fenced --store postgres --instances 4 --seed 42 --runs 1',
  );
  expect(code).toBe(0);
}, 90_000);

test('without it a holder who stands still past its lease loses an update, and charges once more; it is shown step by step', async () => {
  const { code, out, reports } = await race(
    ...['--strategy', 'redis-lock,distributed-lock', '--fault', 'holder-stopped', '--runs', '2', ...ON_TWO],
  );
  expect(reports).toHaveLength(4);
  for (const report of reports) {
    expect(report).toMatchObject({ verdict: 'fail', expected: 'breaks', asExpected: true });
    expect(report.lock?.overlaps).toBeGreaterThan(0);
  }
  const [coupon, , order] = reports;
  expect(coupon?.lock?.damage?.at(-1)).toMatch(/^both wrote serial \d+/);
  expect(order?.ledger?.captures).toBe(2);
  expect(order?.lock?.damage?.join('\n')).toMatch(/read .*read .*charged .*charged .*was charged 2 times/s);
  expect(out).toContain('redis-lock, holder-stopped: damage in 2 of 2 runs; in the first lotto-back-');
  expect(out).toMatch(/distributed-lock +holder-stopped +2\/2 .* breaks +2 of 2 break I/);
  expect(code).toBe(0);
}, 60_000);

test.each(['SIGINT', 'SIGKILL'] as const)(
  '%s leaves nothing, also while an instance stands still',
  async (signal) => {
    const tmp = temporaryDirectory();
    const { lab, ended } = start(
      ...['race', 'lock', '--strategy', 'redis-lock-fenced', '--fault', 'holder-stopped', '--runs', '100'],
      ...ON_TWO,
    );
    const standing = () =>
      remainsOf(tmp).processes.filter((line) => / T /.test(read(`/proc/${Number.parseInt(line, 10)}/stat`)));
    await until(
      () => standing().length > 0,
      30_000,
      () => remainsOf(tmp),
    );
    lab.kill(signal);
    expect((await ended).code).toBe(signal === 'SIGINT' ? 130 : null);
    await until(
      () => nothing(remainsOf(tmp)),
      10_000,
      () => remainsOf(tmp),
    );
  },
  60_000,
);
