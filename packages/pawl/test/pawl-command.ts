import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';

const COMMAND = fileURLToPath(new URL('../src/bin/pawl.ts', import.meta.url));

/** A secret that must not be seen anywhere. */
export const CANARY = 'canary-4f1d';

/** The command as a user runs it. */
export function start(
  args: readonly string[],
  env: Record<string, string> = {},
  nodeArgs: readonly string[] = [],
) {
  const command: ChildProcess = spawn(process.execPath, [...nodeArgs, COMMAND, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // With the cache of what is compiled, which does not change what it does, and saves half of it.
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...env },
  });
  onTestFinished(() => void command.kill('SIGKILL'));
  const output = { out: '', err: '' };
  command.stdout?.on('data', (text) => {
    output.out += text;
  });
  command.stderr?.on('data', (text) => {
    output.err += text;
  });
  const ended = once(command, 'close').then(([code]) => ({ code: code as number | null, ...output }));
  return { command, ended };
}

export const run = (...args: string[]) => start(args).ended;

/** Exactly one line on standard error, and nothing that nobody may see. */
export function expectOneLine({ out, err }: { out: string; err: string }, ...parts: string[]): void {
  expect(out).toBe('');
  expect(err).toMatch(/^pawl: [^\n]+\n$/);
  expect(err).not.toContain(CANARY);
  for (const part of parts) expect(err).toContain(part);
}
