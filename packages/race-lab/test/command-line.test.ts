import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { RunReport } from '../src/report/report.ts';
import { freeRange, nothing, remainsOf, temporaryDirectory, until } from './cluster/helpers.ts';

const MAIN = fileURLToPath(new URL('../src/bin/race-lab.ts', import.meta.url));

/** The command as a user runs it, with its output. */
function start(...args: string[]) {
  const lab: ChildProcess = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void lab.kill('SIGKILL'));
  const output = { out: '', err: '' };
  lab.stdout?.on('data', (text) => {
    output.out += text;
  });
  lab.stderr?.on('data', (text) => {
    output.err += text;
  });
  const ended = once(lab, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  const shows = (text: string) =>
    until(
      () => (output.out + output.err).includes(text),
      30_000,
      () => output,
    );
  return { lab, ended, shows };
}

const run = (...args: string[]) => start(...args).ended;

describe('race', () => {
  test('races real strategies on four instances, and every number is in the report', async () => {
    const tmp = temporaryDirectory();
    const json = join(tmp, 'reports.json');
    const strategies = 'none,conditional-update,idempotency-key';

    const { code, out } = await run('race', '--orders', '20', '--strategy', strategies, '--json', json);

    const reports: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(reports.map(({ strategy }) => strategy)).toEqual(strategies.split(','));
    const [none, ...right] = reports;
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
    expect(out).toMatch(/none +1\/0\/4 ×20 .* breaks I0×/);
    expect(out).toMatch(/conditional-update +1\/4\/0 ×20 +20 +20 /);
    expect(out).toContain('The race is real');
    expect(out).toContain('--seed 42');
    expect(code).toBe(0);
    expect(remainsOf(tmp)).toEqual({ files: ['reports.json'], processes: [] });
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
    );
    vi.unstubAllEnvs();
    const [none, key]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(none).toMatchObject({ verdict: 'fail', asExpected: true, skipped: null });
    expect(key).toMatchObject({ verdict: 'unknown', asExpected: true, patterns: null, ledger: null });
    expect(key?.skipped).toContain('apt-get install redis-server');
    expect(out).toMatch(/idempotency-key +– +– .* skipped/);
    expect(code).toBe(0);
  });

  test('in-memory on four instances takes the money more than once', async () => {
    const json = join(temporaryDirectory(), 'reports.json');
    const { code } = await run(
      ...['race', '--strategy', 'in-memory', '--orders', '20', '--gateway', 'generous', '--json', json],
    );
    const [report]: RunReport[] = JSON.parse(readFileSync(json, 'utf8'));
    expect(report?.ledger?.ordersCapturedTwice).toBeGreaterThan(10);
    expect(report?.violations.map(({ invariant }) => invariant)).toEqual(
      expect.arrayContaining(['I0', 'I1a', 'I1b', 'I2']),
    );
    expect(report).toMatchObject({ verdict: 'fail', expected: 'breaks', asExpected: true });
    expect(code).toBe(0);
  });

  test.each([
    ['an unknown strategy', ['race', '--strategy', 'luck'], '--strategy must be one of none, in-memory'],
    ['an unknown experiment', ['race', 'roulette'], 'experiment must be one of purchase'],
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
  ])('%s is a bad argument: 254, and nothing was started', async (_name, args, message) => {
    const tmp = temporaryDirectory();
    const { code, out, err } = await run(...args);
    expect(err).toContain(message);
    expect(out).toBe('');
    expect(code).toBe(254);
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('help is no error', async () => {
    const { code, out } = await run('race', '--help');
    expect(out).toContain('--strategy');
    expect(code).toBe(0);
  });

  test.each([
    ['while it starts', 'starting'],
    ['while it races', 'racing'],
  ])('Ctrl-C %s leaves nothing, and says so', async (_name, moment) => {
    const tmp = temporaryDirectory();
    const { lab, ended, shows } = start('race', '--strategy', 'none');
    await shows(moment);
    lab.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 130, err: expect.stringContaining('nothing is left running') });
    expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
  });

  test('killed outright, it leaves nothing', async () => {
    const tmp = temporaryDirectory();
    const { lab, ended, shows } = start('race', '--strategy', 'none');
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
    const { ended, shows } = start('race', '--strategy', 'conditional-update', '--orders', '60');
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
    const { ended, shows } = start('race', '--strategy', 'conditional-update', '--orders', '60');
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
    const { lab, ended } = start('race', '--strategy', 'none', '--orders', '5');
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

test('the package’s bin is the file that these tests run', () => {
  const { bin } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(fileURLToPath(new URL(`../${bin['race-lab']}`, import.meta.url))).toBe(MAIN);
  expect(existsSync(MAIN)).toBe(true);
});
