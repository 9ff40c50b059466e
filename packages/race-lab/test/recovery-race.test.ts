import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { RunReport } from '../src/report/report.ts';
import { nothing, read, remainsOf, temporaryDirectory, until } from './cluster/helpers.ts';
import { ON_TWO, run, start } from './lab-command.ts';

test('instances that die after the charge, over a look-up and over a refund leave every order paid once or refunded', async () => {
  const failpoints = ['durable-call.send.after', 'durable-call.look-up.before', 'compensation.send.after'];
  const tmp = temporaryDirectory();
  const json = join(tmp, 'reports.json');
  const { code, out } = await run(
    ...['race', 'recovery', '--failpoint', failpoints.join(','), '--orders', '5', '--json', json],
  );
  const reports: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
  expect(remainsOf(tmp)).toEqual({ files: ['reports.json'], processes: [] });
  expect(reports.map(({ recovery, violations }) => ({ struckAt: recovery?.struckAt, violations }))).toEqual(
    failpoints.map((struckAt) => ({ struckAt, violations: [] })),
  );
  for (const report of reports) {
    expect(report).toMatchObject({
      ...{ schema: 'race-lab/1', experiment: 'recovery', strategy: 'durable', gateway: 'toss', orders: 5 },
      ...{ violations: [], verdict: 'pass', asExpected: true, coupon: null, lock: null },
      // A strategy that does not recover was charged for orders that it never billed.
      control: { strategy: 'conditional-update', raced: true },
      ledger: { captures: 5, ordersCapturedTwice: 0 },
      recovery: { kind: 'failpoint', leftMs: expect.any(Number) },
    });
    expect(report.recovery?.leftMs).toBeGreaterThanOrEqual(0);
  }
  const [paid, , refunded] = reports;
  expect(paid).toMatchObject({ recovery: { completed: 5, refunded: 0 }, rows: { bills: 5 } });
  expect(refunded).toMatchObject({
    ...{ recovery: { completed: 0, refunded: 5 }, rows: { bills: 0 } },
    ledger: { refunds: 5 },
  });
  expect(out).toContain('3 of 3 failpoints were passed, and an instance died at each.');
  expect(out).toContain(
    `npm run race -- recovery --store postgres --instances 4 --seed 42 --orders 5 --failpoint ${failpoints.join(',')}`,
  );
  expect(code).toBe(0);
}, 90_000);

test('Ctrl-C leaves nothing, also while an owner stands still', async () => {
  const tmp = temporaryDirectory();
  const { lab, ended } = start(
    ...['race', 'recovery', '--fault', 'stopped-before-charge', '--gateway', 'toss', '--orders', '2'],
    ...ON_TWO,
  );
  const standing = () =>
    remainsOf(tmp).processes.filter((line) => / T /.test(read(`/proc/${Number.parseInt(line, 10)}/stat`)));
  await until(
    () => standing().length > 0,
    60_000,
    () => remainsOf(tmp),
  );
  lab.kill('SIGINT');
  expect((await ended).code).toBe(130);
  await until(
    () => nothing(remainsOf(tmp)),
    10_000,
    () => remainsOf(tmp),
  );
}, 90_000);
