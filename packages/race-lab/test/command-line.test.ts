import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { newDatabase, thorough } from '../../../test/stores.ts';
import { findRunningClusters } from '../src/cluster/running-clusters.ts';
import { htmlPageOf } from '../src/report/html/page.ts';
import type { RunReport } from '../src/report/report.ts';
import { freeRange, nothing, remainsOf, temporaryDirectory, until } from './cluster/helpers.ts';
import { MAIN, ON_ONE, ON_TWO, run, start } from './lab-command.ts';
import { session } from './locks/sessions.ts';

describe('race', () => {
  test('races real strategies on four instances, and every number is in the report; who waited for whose lock, too', async () => {
    const tmp = temporaryDirectory();
    const json = join(tmp, 'reports.json');
    const html = join(tmp, 'reports.html');
    const strategies = 'none,conditional-update,idempotency-key,pessimistic-held';

    const { code, out } = await run(
      ...['race', '--orders', '20', '--strategy', strategies, '--json', json, '--html', html],
    );

    const reports: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(reports.map(({ strategy }) => strategy)).toEqual(strategies.split(','));
    const [none, ...right] = reports;
    const [update, , held] = right;
    expect(none).toMatchObject({
      responses: { 200: 20, 500: 80 },
      patterns: { '1/0/4': 20 },
      ledger: { requests: 100, captures: 20, refunds: 0, ordersRequestedTwice: 20, ordersCapturedTwice: 0 },
      verdict: 'fail',
      expected: 'breaks',
    });
    for (const report of right) {
      expect(report).toMatchObject({
        patterns: { '1/4/0': 20 },
        ledger: { requests: 20, captures: 20, refunds: 0, ordersRequestedTwice: 0, ordersCapturedTwice: 0 },
        rows: { orders: 20, bills: 20, audit: 40 },
        violations: [],
        verdict: 'pass',
        expected: 'holds',
      });
    }
    for (const report of reports) {
      expect(report).toMatchObject({
        schema: 'race-lab/1',
        experiment: 'purchase',
        store: 'postgres',
        gateway: 'as-published',
        instances: 4,
        frontDoor: 'nginx',
        orders: 20,
        fanout: 5,
        seed: 42,
        coupon: null,
        control: { strategy: 'none', orders: 20, ordersRequestedTwice: 20, raced: true },
        asExpected: true,
        skipped: null,
      });
      expect(report.startedAt).toMatch(/^\d{4}-\d\d-\d\dT/);
      expect(report.durationMs).toBeGreaterThan(800);
      expect(report.latencyMs.all?.p50).toBeGreaterThan(0);
      expect(report.latencyMs.ok?.p50).toBeGreaterThan(100);
      expect(report.arrivalSpreadMs?.p50).toBeGreaterThanOrEqual(0);
      expect(report.replays).toBe(0);
    }
    for (const { recorded, patterns } of reports) {
      const lanes = Map.groupBy(recorded?.events ?? [], ({ by }) => by);
      const of = (what: string) => recorded?.events.filter((event) => event.what === what).length;
      const [successes = ''] = Object.keys(patterns ?? {});
      expect(new Set(lanes.get('client')?.map(({ lane }) => lane)).size).toBe(5);
      expect([of('sent'), of('arrived'), of('answered'), of('captured')]).toEqual([5, 5, 5, 1]);
      expect(of('asked')).toBe(successes === '1/0/4' ? 5 : 1);
      // Wherever the provider's clock is put, it was asked between the arrival of the request and its answer.
      for (const asked of recorded?.events.filter(({ what }) => what === 'asked') ?? []) {
        const ofRequest = recorded?.events.filter(({ request }) => request === asked.request) ?? [];
        const at = (what: string) => ofRequest.find((event) => event.what === what)?.atMs;
        expect(at('arrived')).toBeLessThanOrEqual(asked.atMs + asked.uncertainMs);
        expect(asked.atMs).toBeLessThanOrEqual(at('answered') ?? Number.NaN);
      }
    }
    expectLockWaits('postgres', { held, update, out });
    expect(readFileSync(html, 'utf8')).toBe(htmlPageOf(reports));
    expect(out).toMatch(/none +1\/0\/4 ×20 .* breaks I0×/);
    expect(out).toMatch(/conditional-update +1\/4\/0 ×20 +20 +20 /);
    expect(out).toContain('The race is real');
    expect(out).toContain('--seed 42');
    expect(code).toBe(0);
    expect(remainsOf(tmp)).toEqual({ files: ['reports.html', 'reports.json'], processes: [] });
  });

  test('in-memory holds on one instance; a race of one strategy brings its control along', async () => {
    const json = join(temporaryDirectory(), 'reports.json');
    const { code } = await run(
      ...['race', '--strategy', 'in-memory', '--instances', '1', '--orders', '10'],
      ...['--gateway', 'generous', '--json', json],
    );
    const [report, ...others]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(others).toEqual([]);
    expect(report).toMatchObject({
      patterns: { '1/4/0': 10 },
      ledger: { requests: 10, captures: 10 },
      control: { strategy: 'none', orders: 10, raced: true },
      expected: 'holds',
      asExpected: true,
    });
    expect(code).toBe(0);
  });

  test('without Redis, what needs it is skipped with the command that installs it', async () => {
    const tmp = temporaryDirectory();
    const json = join(tmp, 'reports.json');
    vi.stubEnv('PATH', tmp);
    const { code, out } = await run(
      'race',
      '--strategy',
      'none,idempotency-key',
      '--orders',
      '5',
      '--json',
      json,
      ...ON_TWO,
    );
    vi.unstubAllEnvs();
    const [none, key]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(none).toMatchObject({ verdict: 'fail', asExpected: true, skipped: null });
    expect(key).toMatchObject({ verdict: 'unknown', asExpected: true, patterns: null, ledger: null });
    expect(key?.skipped).toContain('apt-get install redis-server');
    expect(out).toMatch(/idempotency-key +– +– .* skipped/);
    expect(code).toBe(0);
  });

  test('in-memory on several instances takes the money more than once', async () => {
    const json = join(temporaryDirectory(), 'reports.json');
    const { code } = await run(
      ...[
        'race',
        '--strategy',
        'in-memory',
        '--orders',
        '20',
        '--gateway',
        'generous',
        '--json',
        json,
        ...ON_TWO,
      ],
    );
    const [report]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(report?.ledger?.ordersCapturedTwice).toBeGreaterThan(10);
    expect(report?.violations.map(({ invariant }) => invariant)).toEqual(
      expect.arrayContaining(['I0', 'I1a', 'I1b', 'I2']),
    );
    expect(report).toMatchObject({ verdict: 'fail', expected: 'breaks', asExpected: true });
    expect(code).toBe(0);
  });

  test('help is no error', async () => {
    const { code, out } = await run('race', '--help');
    expect(out).toContain('--strategy');
    expect(code).toBe(0);
  });

  test('on MariaDB, too, the report shows who waited for whose lock, and says how durable the database is', async () => {
    const json = join(temporaryDirectory(), 'reports.json');
    const strategies = 'pessimistic-held,conditional-update';
    const { code, out } = await run(
      ...[
        'race',
        '--store',
        'mariadb',
        '--strategy',
        strategies,
        '--orders',
        '20',
        '--json',
        json,
        ...ON_TWO,
      ],
    );
    const [held, update]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expectLockWaits('mariadb', { held, update, out });
    expect(code).toBe(0);
  });

  test('bystanders wait where the lock is held across the payment, and less where it is not', async () => {
    const tmp = temporaryDirectory();
    const json = join(tmp, 'reports.json');
    const { code, out } = await run(
      ...['race', 'bystanders', '--strategy', 'pessimistic,pessimistic-held'],
      ...(thorough ? ['--purchases', '60', '--seconds', '3'] : ['--purchases', '30', '--seconds', '2']),
      ...['--json', json],
    );
    const [pessimistic, held]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(held).toMatchObject({
      experiment: 'bystanders',
      instances: 1,
      // Beside other programs that take all processors nobody can tell what the bystanders waited for.
      ...((held?.bystanders?.processors.peak ?? 0) > 0.95
        ? { verdict: 'unknown', asExpected: false, unknownBecause: expect.stringContaining('processors') }
        : { verdict: 'fail', asExpected: true }),
      expected: 'breaks',
      control: { strategy: 'pessimistic-held', raced: true },
    });
    expect(held?.violations.map(({ invariant }) => invariant)).toContain('I14');
    expect(held?.bystanders?.orders?.p99).toBeGreaterThan(100);
    expect(pessimistic).toMatchObject({ patterns: { '1/0/0': pessimistic?.orders }, expected: 'holds' });
    expect(pessimistic?.ledger).toMatchObject({ ordersRequestedTwice: 0, captures: pessimistic?.orders });
    expect(pessimistic?.violations.filter(({ invariant }) => invariant !== 'I14')).toEqual([]);
    expect(pessimistic?.bystanders?.orders?.p99).toBeLessThan(held?.bystanders?.orders?.p99 ?? 0);
    // How fast this machine is at the moment decides whether they were late in the end.
    const unknown = [pessimistic, held].some((report) => report?.verdict === 'unknown');
    expect(code).toBe(pessimistic?.verdict === 'fail' ? 1 : unknown ? 2 : 0);
    expect(out).toContain('The pool was under load');
    expect(out).toContain(
      'npm run race -- bystanders --strategy pessimistic,pessimistic-held --store postgres',
    );
    expect(remainsOf(tmp)).toEqual({ files: ['reports.json'], processes: [] });
  }, 90_000);

  test.each([
    ['while it starts', 'starting'],
    ['while it races', 'racing'],
  ])('Ctrl-C %s leaves nothing, and says so', async (_name, moment) => {
    const tmp = temporaryDirectory();
    const { lab, ended, shows } = start('race', '--strategy', 'none', ...ON_TWO);
    await shows(moment);
    lab.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, err: expect.stringContaining('nothing is left running') });
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('killed outright, it leaves nothing', async () => {
    const tmp = temporaryDirectory();
    const { lab, ended, shows } = start('race', '--strategy', 'none', ...ON_TWO);
    await shows('racing');
    expect(remainsOf(tmp).processes.length).toBeGreaterThan(8);
    lab.kill('SIGKILL');
    await ended;
    await until(
      () => nothing(remainsOf(tmp)),
      10_000,
      () => remainsOf(tmp),
    );
  });

  test('an instance that dies makes the verdict unknown, though the others carry on', async () => {
    const tmp = temporaryDirectory();
    const { ended, shows } = start('race', '--strategy', 'conditional-update', '--orders', '60', ...ON_TWO);
    await shows('racing conditional-update');
    const victim = remainsOf(tmp).processes.find((process) => process.includes('apps/shop/src/main.ts'));
    process.kill(Number(victim?.split(' ')[0]), 'SIGKILL');
    const { code, out } = await ended;
    expect(out).toMatch(/conditional-update: unknown, because lotto-back-\d had ended by itself/);
    expect(code).toBe(2);
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('a provider that dies is named, and the race is broken off', async () => {
    const tmp = temporaryDirectory();
    const { ended, shows } = start('race', '--strategy', 'conditional-update', '--orders', '60', ...ON_TWO);
    await shows('racing conditional-update');
    const victim = remainsOf(tmp).processes.find((process) =>
      process.includes('payment-sandbox/src/main.ts'),
    );
    process.kill(Number(victim?.split(' ')[0]), 'SIGKILL');
    const { code, err } = await ended;
    expect(err).toContain('payment-sandbox ended by itself, so the race was broken off');
    expect(code).toBe(255);
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('a reader that has gone is no verdict', async () => {
    const tmp = temporaryDirectory();
    const { lab, ended } = start('race', '--strategy', 'none', '--orders', '5', ...ON_ONE);
    lab.stdout?.destroy();
    expect((await ended).code).toBe(255);
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('a temporary directory that is not there is named', async () => {
    vi.stubEnv('TMPDIR', '/no/such/folder');
    const { code, err } = await run('race', '--orders', '1');
    vi.unstubAllEnvs();
    expect(err).toContain('the temporary directory /no/such/folder cannot be written to; set TMPDIR');
    expect(code).toBe(255);
  });

  test('a database that is not there is our failure: 255, in one sentence', async () => {
    const { code, err } = await run('race', '--store', 'postgres://user:secret@127.0.0.1:1/x');
    expect(code).toBe(255);
    expect(err).not.toContain('secret');
  });
});

describe('bad arguments', () => {
  /** All in one process: most of what a command needs to refuse them is its start. */
  const commands = fork(fileURLToPath(new URL('fixtures/commands-main.ts', import.meta.url)));
  afterAll(() => void commands.kill());

  async function runThere(args: readonly string[]) {
    commands.send({ args, tmp: temporaryDirectory() });
    const [ended] = await once(commands, 'message');
    return ended as { code: number; out: string; err: string };
  }

  test('254, as of a process of its own', async () => {
    const tmp = temporaryDirectory();
    const args = ['race', '--strategy', 'luck'];
    const ended = await run(...args);
    expect(ended).toMatchObject({
      code: 254,
      out: '',
      err: expect.stringContaining('--strategy must be one of'),
    });
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
    expect(await runThere(args)).toEqual(ended);
  });

  test.each([
    ['an unknown strategy', ['race', '--strategy', 'luck'], '--strategy must be one of none, in-memory'],
    ['an unknown experiment', ['race', 'roulette'], 'experiment must be one of purchase, bystanders, coupon'],
    [
      'a strategy of purchases for coupons',
      ['race', 'coupon', '--strategy', 'unique-claim'],
      '--strategy must be one of none, mutex',
    ],
    [
      'an unknown scenario',
      ['race', 'coupon', '--scenario', 'stampede'],
      '--scenario must be one of workers-5, workers-32, crowd',
    ],
    [
      'a gateway of coupons',
      ['race', 'coupon', '--gateway', 'toss'],
      '--gateway has no meaning in the experiment coupon',
    ],
    [
      'orders of coupons',
      ['race', 'coupon', '--orders', '5'],
      '--orders has no meaning in the experiment coupon',
    ],
    [
      'a scenario of purchases',
      ['race', '--scenario', 'crowd'],
      '--scenario has no meaning in the experiment purchase',
    ],
    [
      'runs of bystanders',
      ['race', 'bystanders', '--runs', '2'],
      '--runs has no meaning in the experiment bystanders',
    ],
    ['no run', ['race', 'coupon', '--runs', '0'], '--runs must be a whole number from 1'],
    [
      'a fault of coupons',
      ['race', 'coupon', '--fault', 'redis-killed'],
      '--fault has no meaning in the experiment coupon',
    ],
    [
      'an unknown fault',
      ['race', 'lock', '--fault', 'fire'],
      '--fault must be one of holder-stopped, redis-killed',
    ],
    [
      'a lock that has no fault to fear',
      ['race', 'lock', '--strategy', 'pessimistic'],
      '--strategy must be one of redis-lock, ',
    ],
    [
      'a scenario of locks',
      ['race', 'lock', '--scenario', 'crowd'],
      '--scenario has no meaning in the experiment lock',
    ],
    [
      'a gateway of locks',
      ['race', 'lock', '--gateway', 'toss'],
      '--gateway has no meaning in the experiment lock',
    ],
    ['nobody who waits', ['race', 'lock', '--instances', '1'], 'lock needs 2 instances at least'],
    [
      'a crowd at the spin lock',
      ['race', 'coupon', '--strategy', 'redis-spin-lock', '--scenario', 'crowd'],
      'nothing to race: redis-spin-lock is raced in workers-32 only',
    ],
    [
      'a fan-out of bystanders',
      ['race', 'bystanders', '--fanout', '5'],
      '--fanout has no meaning in the experiment',
    ],
    [
      'orders of bystanders',
      ['race', 'bystanders', '--orders', '5'],
      '--orders has no meaning in the experiment',
    ],
    [
      'seconds of a purchase race',
      ['race', '--seconds', '5'],
      '--seconds has no meaning in the experiment purchase',
    ],
    ['purchases of a purchase race', ['race', 'purchase', '--purchases', '5'], '--purchases has no meaning'],
    [
      'bystanders of a wrong strategy',
      ['race', 'bystanders', '--strategy', 'none'],
      'none is not right to begin with',
    ],
    [
      'no time for bystanders',
      ['race', 'bystanders', '--seconds', '0'],
      '--seconds must be a whole number from 1',
    ],
    ['locks where no cluster runs', ['locks'], 'no cluster runs: start one with "npm start"'],
    [
      'locks of a cluster that does not run',
      ['locks', '--cluster', 'race-lab-x'],
      'no cluster runs in race-lab-x',
    ],
    [
      'locks of a server that is to be started',
      ['locks', '--store', 'postgres'],
      '--store must be a postgres:// or mysql://',
    ],
    [
      'locks of another database',
      ['locks', '--store', 'redis://127.0.0.1'],
      '--store must be a postgres:// or mysql://',
    ],
    [
      'locks of two databases',
      ['locks', '--store', 'mysql://x/y', '--cluster', 'z'],
      '--store and --cluster each name a database',
    ],
    ['a URL that is not encoded', ['race', '--store', 'mysql://u:%zz@x/y'], '--store must be postgres'],
    ['locks without a pause', ['locks', '--every', '0'], '--every must be a whole number from 10'],
    ['locks for no time', ['locks', '--for', '0'], '--for must be a whole number from 1'],
    ['an unknown gateway', ['race', '--gateway', 'stripe'], '--gateway must be one of as-published'],
    ['an unknown store', ['race', '--store', 'oracle'], '--store must be postgres'],
    ['no orders', ['race', '--orders', '0'], '--orders must be a whole number from 1 to 10000, got "0"'],
    ['half an order', ['race', '--orders', '1.5'], '--orders must be a whole number'],
    ['a fan-out that is no race', ['race', '--fanout', '1'], '--fanout must be a whole number from 2'],
    ['too many instances', ['race', '--instances', '17'], '--instances must be a whole number from 1 to 16'],
    ['a seed that is text', ['race', '--seed', 'x'], '--seed must be a whole number'],
    ['a report in a folder that is not there', ['race', '--json', '/no/such/folder/x.json'], '--json'],
    ['a report without a name', ['race', '--json', ''], '--json needs the name of a file'],
    ['a report where a folder is', ['race', '--json', '/tmp'], '--json /tmp: it is not a file'],
    ['an unknown option', ['race', '--speed'], "unknown option '--speed'"],
    ['an unknown command', ['rase'], "unknown command 'rase'"],
    ['an option without its value', ['race', '--orders'], 'argument missing'],
    ['a port that is none', ['up', '--port', '70000'], '--port must be a whole number'],
  ])('%s: 254, and nothing was started', async (_name, args, message) => {
    const { code, out, err } = await runThere(args);
    expect(err).toContain(message);
    expect(out).toBe('');
    expect(code).toBe(254);
    expect(remainsOf(process.env.TMPDIR ?? '')).toEqual({ files: [], processes: [] });
  });
});

/** What a report says of the locks, and of the database that they are in. */
function expectLockWaits(
  store: 'postgres' | 'mariadb',
  { held, update, out }: { held: RunReport | undefined; update: RunReport | undefined; out: string },
) {
  const [example] = held?.lockWaits?.examples ?? [];
  expect(held?.lockWaits).toMatchObject({ brokenBecause: null });
  expect(held?.lockWaits?.seen).toBeGreaterThan(0);
  expect(held?.lockWaits?.samples).toBeGreaterThan(1);
  const index = store === 'postgres' ? null : 'PRIMARY';
  expect(example).toMatchObject({ table: 'lotto_publish', holderIdleInTransaction: true, index });
  expect(example?.waiter).toMatch(/^SELECT .status. FROM .lotto_publish. WHERE .id. = .* FOR UPDATE$/);
  // The server counts every wait. How many there are is left to chance: who waits for a connection of the pool until the
  // lock is free again does not wait for the lock.
  if (store === 'mariadb') {
    const seen = held?.lockWaits?.seen ?? Number.POSITIVE_INFINITY;
    // What InnoDB shows is up to 0.1 s old. A session that runs the same statement again by then, whose text has no values, seems
    // to wait once more: some are seen that were none.
    expect(held?.lockWaits?.server?.waits).toBeGreaterThanOrEqual(0.9 * seen);
  }
  expect(update?.lockWaits).toBeNull();
  expect(held?.database?.settings).toMatchObject(
    store === 'postgres' ? { synchronous_commit: 'on' } : { innodb_flush_log_at_trx_commit: '1' },
  );
  expect(held?.database?.shopIsolation?.replace('-', ' ').toLowerCase()).toBe('read committed');
  expect(out).toContain(`${held?.database?.product} ${held?.database?.version}: `);
  expect(out).toMatch(/pessimistic-held: \d+ waits for locks were seen/);
}

describe('up', () => {
  test('twenty pings through the front door rotate over the four names; Ctrl-C ends all of it', async () => {
    const tmp = temporaryDirectory();
    const port = await freeRange(11);
    const { lab, ended, shows } = start('up', '--port', String(port));
    await shows('Ctrl-C ends everything');

    const names: string[] = [];
    for (let ping = 0; ping < 20; ping++) {
      const response = await fetch(`http://127.0.0.1:${port}/ping`);
      names.push(((await response.json()) as { data: string }).data);
    }
    const round = names.slice(0, 4);
    expect(round.toSorted()).toEqual(['lotto-back-1', 'lotto-back-2', 'lotto-back-3', 'lotto-back-4']);
    expect(names).toEqual([round, round, round, round, round].flat());

    // Refused before its body is read, many times over: it must not take the instances out of the rotation.
    for (let request = 0; request < 12; request++) {
      const refused = await fetch(`http://127.0.0.1:${port}/api/orders`, {
        method: 'POST',
        headers: { 'content-type': 'text/xml' },
        body: 'x'.repeat(2_000_000),
      });
      expect(await refused.json()).toMatchObject({ success: false, status: 415 });
    }
    expect((await fetch(`http://127.0.0.1:${port}/ping`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}/docs/json`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);

    const tooLarge = await fetch(`http://127.0.0.1:${port}/api/tickets`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ padding: 'x'.repeat(2_000_000) }),
    });
    expect(await tooLarge.json()).toMatchObject({ success: false, status: 413, code: 'body-too-large' });

    lab.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 0 });
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('a port that is taken is named', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const { code, err } = await run('up', '--port', String(port));
    expect(err).toContain(`port ${port} is taken by another process; choose another with --port`);
    expect(code).toBe(254);
  });
});

describe('locks', () => {
  const lines = (text: string) => text.trimEnd().split('\n');

  /** A cluster of one instance, and the URL of its database. */
  async function cluster(store: string, port: number) {
    const known = new Set((await findRunningClusters()).map(({ directory }) => directory));
    const up = start('up', '--instances', '1', '--store', store, '--port', String(port));
    await up.shows('Ctrl-C ends everything');
    const found = (await findRunningClusters()).find(({ directory }) => !known.has(directory));
    if (found === undefined) throw new Error('the cluster that was started is not found');
    return { ...up, ...found, name: basename(found.directory) };
  }

  test.each(['postgres', 'mariadb'])(
    'of the %s cluster that runs: a wait when it begins and when it has ended, until the cluster ends',
    async (store) => {
      temporaryDirectory();
      const running = await cluster(store, await freeRange(11));
      const watching = start('locks', '--every', '10');
      await watching.shows('Watching the locks of');
      const [holder, waiter] = [await session(running.databaseUrl), await session(running.databaseUrl)];
      await holder.run('BEGIN');
      await holder.run('SELECT id FROM lotto_round_info WHERE id = 1 FOR UPDATE');
      const waiting = waiter.run('UPDATE lotto_round_info SET id = 1 WHERE id = 1');
      await watching.shows(`session ${waiter.id}`);
      await watching.shows(' waits for row lock ');
      await holder.run('ROLLBACK');
      await waiting;
      await watching.shows(`session ${waiter.id} has waited `);
      running.lab.kill('SIGINT');
      expect(await running.ended).toMatchObject({ code: 0 });

      const { code, out, err } = await watching.ended;

      expect(out).toContain('on lotto_round_info');
      expect(out).toContain('  its statement: UPDATE lotto_round_info SET id = 1 WHERE id = 1\n');
      expect(out).toContain(`  blocked by session ${holder.id}`);
      expect(out).toContain('idle in transaction');
      expect(out).toMatch(
        /1 wait seen in \d+ looks, at most 1 at once, the longest \d+ ms:\n {2}1 × row lock/,
      );
      expect(out.match(/ waits for row lock /g)).toHaveLength(1);
      expect(out).not.toContain(new URL(running.databaseUrl).password);
      expect(err).toBe('');
      expect(code).toBe(0);
    },
  );

  test('of several clusters: they are listed without their passwords, and one is chosen', async () => {
    temporaryDirectory();
    const port = await freeRange(22);
    const clusters = [await cluster('postgres', port), await cluster('mariadb', port + 11)];

    const undecided = await run('locks');
    expect(undecided.code).toBe(254);
    expect(undecided.out).toBe('');
    for (const { name, databaseUrl } of clusters) {
      expect(undecided.err).toContain(`--cluster ${name}  (store `);
      expect(undecided.err).not.toContain(new URL(databaseUrl).password);
    }

    const [postgres, mariadb] = clusters;
    const chosen = await run('locks', '--cluster', mariadb?.name ?? '', '--for', '1', '--json');
    expect(chosen.code).toBe(0);
    const events = lines(chosen.out).map((line) => JSON.parse(line));
    expect(events).toMatchObject([
      { event: 'note', text: expect.stringContaining('(MariaDB)') },
      { event: 'summary', seen: 0, mostAtOnce: 0, longestMs: null },
    ]);

    const byUrl = start('locks', '--store', postgres?.databaseUrl ?? '', '--json');
    await byUrl.shows('(PostgreSQL)');
    byUrl.lab.kill('SIGINT');
    expect(await byUrl.ended).toMatchObject({ code: 0, err: '' });

    const unread = start('locks', '--cluster', postgres?.directory ?? '', '--for', '60');
    await unread.shows('Watching');
    unread.lab.stdout?.destroy();
    const [holder, waiter] = [
      await session(postgres?.databaseUrl ?? ''),
      await session(postgres?.databaseUrl ?? ''),
    ];
    await holder.run('BEGIN; SELECT id FROM lotto_round_info FOR UPDATE');
    const waiting = waiter.run('SELECT id FROM lotto_round_info FOR UPDATE');
    expect((await unread.ended).code).toBe(255);
    await holder.run('ROLLBACK');
    await waiting;

    for (const { lab, ended } of clusters) {
      lab.kill('SIGINT');
      expect((await ended).code).toBe(0);
    }
  }, 60_000);

  test('a connection that somebody ends is made again', async () => {
    const url = await newDatabase('postgres');
    const administrator = await session(url);
    const watching = start('locks', '--store', url, '--every', '10');
    await watching.shows('Watching');
    await administrator.run(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'race-lab locks' AND datname = current_database()`,
    );
    await watching.shows('the connection that watches the locks was lost');
    const waiter = await session(url);
    await administrator.run('SELECT pg_advisory_lock(5)');
    const waiting = waiter.run('SELECT pg_advisory_lock(5)');
    await watching.shows('waits for advisory lock');
    await administrator.run('SELECT pg_advisory_unlock(5)');
    await waiting;
    watching.lab.kill('SIGINT');
    expect(await watching.ended).toMatchObject({ code: 0 });
  });

  test('a database that is not there is named without its password', async () => {
    const { code, err } = await run('locks', '--store', 'mysql://user:secret@127.0.0.1:1/shop');
    expect(err).toContain('cannot connect to mysql://127.0.0.1:1/shop');
    expect(err).not.toContain('secret');
    expect(code).toBe(255);
  });
});

test('the package’s bin is the file that these tests run', () => {
  const { bin } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(fileURLToPath(new URL(`../${bin['race-lab']}`, import.meta.url))).toBe(MAIN);
  expect(existsSync(MAIN)).toBe(true);
});
