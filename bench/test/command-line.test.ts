import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../test/barrier.ts';

const MAIN = fileURLToPath(new URL('../src/bin/bench.ts', import.meta.url));

/** The command as a user runs it, with its output. */
function start(...args: string[]) {
  const bench = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void bench.kill('SIGKILL'));
  const output = { out: '', err: '' };
  bench.stdout.on('data', (text) => {
    output.out += text;
  });
  bench.stderr.on('data', (text) => {
    output.err += text;
  });
  const ended = once(bench, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  return { bench, output, ended };
}

const run = (...args: string[]) => start(...args).ended;

describe('bad arguments end it before anything is started, and are named', () => {
  test.each([
    [
      ['--only', 'locks,logs'],
      '--only must name groups of locks, http, coupon, growth, idempotency, purchase, shop, scale, got "logs"',
    ],
    [['--rounds', '2'], '--rounds must be a whole number from 3 to 100, got "2"'],
    [['--rounds', 'many'], '--rounds must be a whole number from 3 to 100, got "many"'],
    [['--json', '/no/such/folder/x.json'], '--json /no/such/folder/x.json: the folder'],
    [['--json', '/'], '--json /: it is not a file'],
    [['--json', ''], '--json needs the name of a file'],
    [['--fast'], "unknown option '--fast'"],
    [['locks'], 'too many arguments'],
  ])('%j', async (args, message) => {
    const { code, out, err } = await run(...args);
    expect(err).toContain(message);
    expect({ code, out }).toEqual({ code: 254, out: '' });
    expect(err).not.toContain('starting');
  });
});

test('--help names the groups and is no error', async () => {
  const { code, out } = await run('--help');
  expect(code).toBe(0);
  expect(out).toContain('locks');
  expect(out).toContain('--quick');
});

test('interrupted, it ends what it has started', { timeout: 120_000 }, async () => {
  const { bench, output, ended } = start('--only', 'locks', '--quick');
  // Its servers run by then, and its first processes are being started.
  await until(
    () => output.err.includes('opening'),
    90_000,
    () => output,
  );
  bench.kill('SIGINT');
  expect(await ended).toMatchObject({
    code: 130,
    out: '',
    err: expect.stringContaining('nothing is left running'),
  });
});
