import { setTimeout as delay } from 'node:timers/promises';
import { PortTakenError, ServerStartError } from './errors.ts';
import type { GuardedProcess, Guardian } from './guardian.ts';
import type { ServerExit, SpawnRequest } from './guardian-messages.ts';
import { readLogTail } from './log-tail.ts';
import { type PortChoice, probePort } from './ports.ts';

/** How often a server is started on another port when the last one was taken meanwhile. */
const PORT_ATTEMPTS = 5;
const PROBE_INTERVAL_MS = 20;
/** A probe that hangs must not hide a server that is ready by now. */
const PROBE_LIMIT_MS = 2_000;

/** What every kind of server says about itself. */
export interface ServerPlan {
  port: PortChoice;
  /** From the start of the process to readiness, in milliseconds. */
  startLimitMs: number;
  /** Called once for each try, so that a configuration file can be written for that port. */
  command(port: number): SpawnRequest | Promise<SpawnRequest>;
  /** Resolves when the server answers as it should, rejects when it does not yet. */
  probe(port: number, signal: AbortSignal): Promise<void>;
}

/** A server that has answered. */
export interface RunningServer extends GuardedProcess {
  readonly port: number;
  /** From the start of the process to readiness, in milliseconds. */
  readonly startMs: number;
}

/**
 * Starts a server and waits until it is ready.
 *
 * A port may be taken between its test and its use. A server that ends early and finds its port taken is started
 * again on another one, unless the port was fixed.
 *
 * @throws ServerStartError   It ended first, or took longer than its limit and was ended.
 * @throws PortTakenError     Its port is fixed and taken.
 * @throws GuardianLostError  The guardian died; nothing runs.
 * @throws the signal's reason; the server has been ended by then.
 */
export async function startServer(
  guardian: Guardian,
  plan: ServerPlan,
  signal: AbortSignal,
): Promise<RunningServer> {
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    const port = await plan.port.next();
    const startedMs = performance.now();
    const server = await guardian.spawn(await plan.command(port));
    const exit = await readyOrEnded(guardian, plan, server, port, signal);
    if (exit === 'ready') return { ...server, port, startMs: Math.round(performance.now() - startedMs) };
    if ((await probePort(port)) === 'taken') {
      if (plan.port.fixedBy !== undefined) throw new PortTakenError('PORT_TAKEN', port, plan.port.fixedBy);
      if (attempt < PORT_ATTEMPTS) continue;
    }
    throw await endedEarly(server, exit);
  }
}

/**
 * Runs a command to its end under the guardian.
 *
 * @throws ServerStartError   It failed, or took longer than `limitMs` and was ended.
 * @throws GuardianLostError  The guardian died; nothing runs.
 * @throws the signal's reason; the command has been ended by then.
 */
export async function runCommand(
  guardian: Guardian,
  request: SpawnRequest,
  limitMs: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const command = await guardian.spawn(request);
  const limit = AbortSignal.timeout(limitMs);
  const exit = await Promise.race([command.exited, aborted(AbortSignal.any([limit, signal]))]);
  guardian.lost.throwIfAborted();
  if (exit === 'aborted') {
    // In its own way and with its own time: killed outright, initdb's server leaves its shared memory behind.
    await command.stop();
    signal.throwIfAborted();
    throw await timedOut(command, limitMs);
  }
  if (exit.code !== 0) throw await endedEarly(command, exit);
}

async function readyOrEnded(
  guardian: Guardian,
  { probe, startLimitMs }: ServerPlan,
  server: GuardedProcess,
  port: number,
  signal: AbortSignal,
): Promise<'ready' | ServerExit> {
  const ended = new AbortController();
  void server.exited.then(() => ended.abort());
  const limit = AbortSignal.timeout(startLimitMs);
  const stop = AbortSignal.any([signal, limit, guardian.lost, ended.signal]);
  const { ready, lastError } = await pollUntilReady((probeSignal) => probe(port, probeSignal), stop);
  guardian.lost.throwIfAborted();
  if (signal.aborted) {
    await server.stop();
    throw signal.reason;
  }
  // First, because what answered on the port of a server that has ended was not that server.
  if (ended.signal.aborted) return server.exited;
  if (ready) return 'ready';
  await server.stop();
  throw await timedOut(server, startLimitMs, lastError);
}

async function pollUntilReady(
  probe: (signal: AbortSignal) => Promise<void>,
  stop: AbortSignal,
): Promise<{ ready: boolean; lastError: unknown }> {
  const stopped = aborted(stop);
  let lastError: unknown;
  while (!stop.aborted) {
    const answer = probe(AbortSignal.any([stop, AbortSignal.timeout(PROBE_LIMIT_MS)])).then(
      () => 'ready' as const,
      (error: unknown) => {
        lastError = error;
        return 'not-ready' as const;
      },
    );
    if ((await Promise.race([answer, stopped])) === 'ready') return { ready: true, lastError };
    await Promise.race([delay(PROBE_INTERVAL_MS), stopped]);
  }
  return { ready: false, lastError };
}

function aborted(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted');
    else signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
}

async function endedEarly(server: GuardedProcess, { code, signal }: ServerExit): Promise<ServerStartError> {
  const what = `ended before it was ready (${signal ?? `exit code ${code}`})`;
  return new ServerStartError('SERVER_ENDED', server.name, what, await readLogTail(server.logFile));
}

async function timedOut(server: GuardedProcess, limitMs: number, cause?: unknown): Promise<ServerStartError> {
  const what = `was not ready after ${limitMs / 1_000} s and was ended`;
  return new ServerStartError('START_TIMED_OUT', server.name, what, await readLogTail(server.logFile), {
    cause,
  });
}
