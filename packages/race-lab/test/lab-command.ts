import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { thorough } from '../../../test/stores.ts';
import { until } from './cluster/helpers.ts';

/**
 * Options of a race that is about something else than how many instances there are. What a cluster costs, its instances cost: each is
 * started, and has to learn its first requests.
 */
export const ON_ONE = thorough ? [] : ['--instances', '1'];
export const ON_TWO = thorough ? [] : ['--instances', '2'];

export const MAIN = fileURLToPath(new URL('../src/bin/race-lab.ts', import.meta.url));

/** The command as a user runs it, with its output. */
export function start(...args: string[]) {
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

export const run = (...args: string[]) => start(...args).ended;
