import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GuardianLostError } from '../../src/cluster/errors.ts';
import type { GuardedProcess, Guardian } from '../../src/cluster/guardian.ts';
import { descendantsOf, isStopped } from '../../src/cluster/process-tree.ts';
import { isRunning, nothing, read, remainsOf, standInRequest, testGuardian, until } from './helpers.ts';

/** A stand-in that listens, so that its signal handlers are in place. */
async function startStandIn(
  guardian: Guardian,
  name: string,
  env: Record<string, string> = {},
): Promise<GuardedProcess> {
  const server = await guardian.spawn(standInRequest(guardian, name, env));
  await until(() => read(server.logFile) === 'listening\n', 10_000);
  return server;
}

test('a server is in a session of its own, under the guardian, and its end is reported', async () => {
  const { guardian } = await testGuardian();
  const server = await guardian.spawn(standInRequest(guardian, 'short', { DIE: 'no such luck' }));
  expect(await server.exited).toEqual({ code: 3, signal: null });
  expect(readFileSync(server.logFile, 'utf8')).toBe('no such luck\n');
  const long = await startStandIn(guardian, 'long');
  const [, parent, group, session] =
    read(`/proc/${long.pid}/stat`).split(') ')[1]?.split(' ').map(Number) ?? [];
  expect({ parent, group, session }).toEqual({ parent: guardian.pid, group: long.pid, session: long.pid });
  expect(guardian.processes().map(({ name }) => name)).toEqual(['long']);
});

test('a server that cannot be started is a named error with the code of the system', async () => {
  const { guardian } = await testGuardian();
  const missing = { ...standInRequest(guardian, 'absent'), command: '/no/such/program' };
  await expect(guardian.spawn(missing)).rejects.toMatchObject({
    name: 'ServerStartError',
    code: 'SPAWN_FAILED',
    cause: { code: 'ENOENT' },
  });
  const nowhere = { ...standInRequest(guardian, 'nowhere'), logFile: '/no/such/folder/log' };
  await expect(guardian.spawn(nowhere)).rejects.toMatchObject({ cause: { code: 'ENOENT' } });
});

test('one server can be stopped, and one that ignores the signal is killed after the limit', async () => {
  const { guardian } = await testGuardian();
  const polite = await startStandIn(guardian, 'polite');
  const deaf = await startStandIn(guardian, 'deaf', { IGNORE_SIGTERM: '1' });
  expect(await polite.stop()).toEqual({ code: 0, signal: null });
  expect(await deaf.stop(200)).toEqual({ code: null, signal: 'SIGKILL' });
  expect(await deaf.signal('SIGKILL')).toBe(false);
});

test('only who was ended by the lab was ended by it, and not who was paused or ended by itself', async () => {
  const { guardian } = await testGuardian();
  const stopped = await startStandIn(guardian, 'stopped');
  const killed = await startStandIn(guardian, 'killed');
  const paused = await startStandIn(guardian, 'paused');
  expect(stopped.wasEndedByLab()).toBe(false);
  await Promise.all([stopped.stop(), killed.signal('SIGKILL'), paused.signal('SIGSTOP')]);
  expect([stopped, killed, paused].map((server) => server.wasEndedByLab())).toEqual([true, true, false]);
  process.kill(paused.pid, 'SIGKILL');
  await paused.exited;
  // Too late: it had ended.
  await paused.stop();
  expect(paused.wasEndedByLab()).toBe(false);
});

test('one server can be paused, resumed and killed', async () => {
  const { guardian } = await testGuardian();
  const server = await startStandIn(guardian, 'victim');
  const state = () => /^State:\s+(\S)/m.exec(read(`/proc/${server.pid}/status`))?.[1];
  expect(await server.signal('SIGSTOP')).toBe(true);
  await until(() => state() === 'T', 5_000, state);
  expect(isStopped(server.pid)).toBe(true);
  expect(await server.signal('SIGCONT')).toBe(true);
  await until(() => state() !== 'T', 5_000, state);
  expect(isStopped(server.pid)).toBe(false);
  expect(await server.signal('SIGKILL')).toBe(true);
  expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' });
});

test('the end asks the servers in reverse order of start, and leaves nothing', async () => {
  const { guardian, tmp } = await testGuardian();
  const outside = join(tmp, 'order');
  for (const name of ['first', 'second', 'third']) await startStandIn(guardian, name, { END_LOG: outside });
  await guardian.end();
  expect(readFileSync(outside, 'utf8')).toBe('third\nsecond\nfirst\n');
  expect(remainsOf(tmp)).toEqual({ files: ['order'], processes: [] });
});

test('the end kills what ignores it, a paused server too', async () => {
  const { guardian, tmp } = await testGuardian();
  await startStandIn(guardian, 'deaf', { IGNORE_SIGTERM: '1' });
  const paused = await startStandIn(guardian, 'paused');
  await paused.signal('SIGSTOP');
  await guardian.end();
  expect(remainsOf(tmp)).toEqual({ files: [], processes: [] });
});

test('closing commands run after the servers have ended, and a failing one is reported', async () => {
  const { guardian, tmp } = await testGuardian();
  const outside = join(tmp, 'order');
  await startStandIn(guardian, 'server', { END_LOG: outside });
  const closing = (name: string, script: string) =>
    guardian.atEnd({ name, command: '/bin/sh', args: ['-c', script], env: {}, cwd: '/' });
  await closing('the last word', `echo last >> ${outside}`);
  await closing('a bad idea', 'echo it was bad >&2; exit 1');
  expect(await guardian.end()).toEqual(['a bad idea failed: it was bad']);
  expect(readFileSync(outside, 'utf8')).toBe('server\nlast\n');
});

test('signals meant for the lab do not end the guardian', async () => {
  const { guardian } = await testGuardian();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(guardian.pid, signal);
  const server = await startStandIn(guardian, 'after');
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(guardian.lost.aborted).toBe(false);
});

test('a guardian that dies is a named error, and what it had started is gone', async () => {
  const { guardian, tmp } = await testGuardian();
  const server = await startStandIn(guardian, 'orphan', { IGNORE_SIGTERM: '1' });
  const lost = new Promise((resolve) => guardian.lost.addEventListener('abort', resolve));
  process.kill(guardian.pid, 'SIGKILL');
  await lost;
  expect(guardian.lost.reason).toBeInstanceOf(GuardianLostError);
  expect(guardian.lost.reason.message).toContain('SIGKILL');
  expect(await server.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await expect(guardian.spawn(standInRequest(guardian, 'late'))).rejects.toBe(guardian.lost.reason);
  await until(
    () => nothing(remainsOf(tmp)),
    5_000,
    () => remainsOf(tmp),
  );
  expect(await guardian.end()).toEqual([]);
});

test('the family of a killed server goes with it, also who leads a session of his own', async () => {
  const { guardian } = await testGuardian();
  const request = standInRequest(guardian, 'parent');
  const family = await guardian.spawn({
    ...request,
    command: '/bin/sh',
    args: ['-c', `trap '' TERM; setsid ${process.execPath} ${request.args[0]} & sleep 1000 & wait`],
    env: { ...request.env, PATH: process.env.PATH ?? '' },
  });
  await until(() => descendantsOf(family.pid).length >= 2, 10_000);
  const children = descendantsOf(family.pid);
  await family.stop(100);
  await until(
    () => !children.some(isRunning),
    5_000,
    () => children,
  );
});
