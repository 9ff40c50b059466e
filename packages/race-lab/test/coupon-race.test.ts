import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { RunReport } from '../src/report/report.ts';
import { nothing, remainsOf, temporaryDirectory, until } from './cluster/helpers.ts';
import { ON_TWO, run, start } from './lab-command.ts';

/** Races coupons on a private cluster, and reads the reports. */
async function race(...args: string[]) {
  const tmp = temporaryDirectory();
  const json = join(tmp, 'reports.json');
  const ended = await run('race', 'coupon', ...args, '--json', json);
  const reports: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
  expect(remainsOf(tmp)).toEqual({ files: ['reports.json'], processes: [] });
  return { ...ended, reports };
}

test('without a guard four instances give members several; with one they do not, run after run', async () => {
  const chosen = '--strategy none,conditional-update --scenario duplicates --runs 2';
  const { code, out, reports } = await race(...chosen.split(' '));

  const [first, second, ...right] = reports;
  for (const report of reports) {
    expect(report).toMatchObject({
      ...{
        schema: 'race-lab/1',
        experiment: 'coupon',
        store: 'postgres',
        instances: 4,
        seed: 42,
        fanout: 10,
      },
      ...{ orders: null, patterns: null, ledger: null, bystanders: null, asExpected: true },
      control: { strategy: 'none', orders: null, raced: true },
      coupon: { scenario: 'duplicates', initial: 1000, members: 50, requests: 500, flood: null },
    });
    expect(report.arrivalSpreadMs?.p50).toBeGreaterThan(0);
    expect(report.latencyMs.all?.p50).toBeGreaterThan(0);
    expect(report.coupon?.stockLooks).toMatchObject({ brokenBecause: null });
    expect(report.coupon?.issuesPerSecond).toBeGreaterThan(0);
  }
  for (const report of [first, second]) {
    expect(report).toMatchObject({ strategy: 'none', verdict: 'fail', expected: 'breaks' });
    expect(report?.coupon?.membersWithSeveral).toBeGreaterThan(0);
    expect(report?.violations.map(({ invariant }) => invariant)).toEqual(
      expect.arrayContaining(['I0', 'I4', 'I5', 'I10']),
    );
    expect(report?.coupon?.interleaving?.join('\n')).toMatch(/lotto-back-\d read .*both wrote serial \d+/s);
  }
  expect(right).toHaveLength(2);
  for (const report of right) {
    expect(report).toMatchObject({
      ...{ strategy: 'conditional-update', violations: [], verdict: 'pass', expected: 'holds' },
      responses: { 200: 50, 400: 450 },
      coupon: { issued: 50, remaining: 950, membersWithSeveral: 0, refusals: { 'already-issued': 450 } },
    });
  }
  expect(out).toMatch(/conditional-update +duplicates +50 +950 +0 .* holds +2 of 2 hold\n/);
  expect(out).toMatch(/none +duplicates .* breaks +2 of 2 break I/);
  expect(out).toMatch(/The race is real in duplicates: without a guard \d+ of 50 members got several\./);
  expect(out).toContain('none lost an update, duplicates:');
  expect(out).toContain(
    'npm run race -- coupon --strategy none,conditional-update --store postgres --instances 4 --seed 42 --scenario duplicates --runs 2',
  );
  expect(code).toBe(0);
}, 60_000);

test('on MariaDB an event that opens gives a day its quota and no more, and only to whom it is for', async () => {
  const { code, reports } = await race(
    ...['--strategy', 'pessimistic', '--scenario', 'opening', '--store', 'mariadb', ...ON_TWO],
  );
  const [report] = reports;
  expect(reports).toHaveLength(1);
  expect(report).toMatchObject({
    ...{ verdict: 'pass', expected: 'holds', asExpected: true, control: { raced: true } },
    coupon: { issued: 50, remaining: 950, dailyQuota: 50, members: 200 },
    lockWaits: { brokenBecause: null },
  });
  // Who may not have one is told so when it has opened; whoever asked before heard that it had not.
  expect(report?.coupon?.refusals).toMatchObject({ 'not-eligible': 100, 'quota-reached': 50 });
  expect(report?.coupon?.refusals['not-open']).toBeGreaterThan(0);
  expect(code).toBe(0);
}, 60_000);

test('a mutex holds on one instance', async () => {
  const { code, reports } = await race(...['--strategy', 'mutex', '--scenario', 'crowd', '--instances', '1']);
  expect(reports).toMatchObject([
    {
      ...{ instances: 1, expected: 'holds', verdict: 'pass', asExpected: true, control: { raced: true } },
      ...{ responses: { 200: 100, 400: 900 }, violations: [] },
      coupon: { issued: 100, remaining: 0, soldOut: 900, members: 1000 },
    },
  ]);
  expect(code).toBe(0);
}, 60_000);

test('the flood is a process of its own, which ends with Ctrl-C as everything does', async () => {
  const tmp = temporaryDirectory();
  const { lab, ended, shows } = start(
    'race',
    'coupon',
    '--strategy',
    'none',
    '--scenario',
    'flood',
    ...ON_TWO,
  );
  await shows('racing none in flood');
  const flood = () => remainsOf(tmp).processes.filter((process) => process.includes('coupon-flood-main'));
  await until(
    () => flood().length > 0,
    30_000,
    () => remainsOf(tmp),
  );
  lab.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 130, err: expect.stringContaining('nothing is left running') });
  await until(
    () => nothing(remainsOf(tmp)),
    10_000,
    () => remainsOf(tmp),
  );
}, 60_000);
