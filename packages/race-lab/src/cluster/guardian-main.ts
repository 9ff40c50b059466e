/**
 * The guardian: the parent of every server of one lab, in a session of its own.
 *
 * It is the parent, so there is no moment at which a server runs that nobody would end. It ends everything when
 * the lab asks, or when the channel to the lab closes, which is what happens when the lab crashes or is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { clearAway } from './clear-away.ts';
import {
  type FromGuardian,
  GUARDIAN_TITLE,
  type ProcessCommand,
  type ServerExit,
  type SpawnRequest,
  THROW_AWAY_PREFIX,
  type ToGuardian,
} from './guardian-messages.ts';
import { killTree, resumeTree, signalGroup, signalProcess } from './process-tree.ts';

/** From the first signal to the kill when everything is ended, in milliseconds. */
const STOP_LIMIT_MS = 4_000;
/** How long a server may take to end before the one that it depends on is asked too, in milliseconds. */
const HEAD_START_MS = 500;
/** How long killed processes may take to vanish, in milliseconds. */
const KILL_LIMIT_MS = 2_000;

interface GuardedServer {
  pid: number;
  stopSignal: NodeJS.Signals;
  exited: Promise<ServerExit>;
}

/** What runs, in order of start. */
const servers = new Map<number, GuardedServer>();
const postmasterPidFiles = new Set<string>();
const atEnd: ProcessCommand[] = [];
let ending: Promise<void> | undefined;

process.title = GUARDIAN_TITLE;
process.on('disconnect', end);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Somebody who ends the lab may signal us as well; we go when the lab has gone.
  process.on(signal, () => undefined);
}

const directory = mkdtempSync(join(tmpdir(), THROW_AWAY_PREFIX));
process.on('uncaughtException', (error) => {
  for (const { pid } of servers.values()) killTree(pid);
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  // Nobody may be left to read it: then the write's own error must not bring us back here.
  process.stderr.on('error', () => process.exit(255));
  process.stderr.write(`${error.stack ?? error.message}\n`, () => process.exit(255));
});
// Another user's server must be able to reach its own folder, and nobody may list ours.
chmodSync(directory, 0o711);

process.on('message', (message: ToGuardian) => {
  switch (message.type) {
    case 'spawn':
      return spawnServer(message.id, message.request);
    case 'stop':
      return void stopServer(message.pid, message.limitMs).then(() => done(message.id, true));
    case 'signal':
      return done(message.id, servers.has(message.pid) && signalGroup(message.pid, message.signal));
    case 'at-end':
      atEnd.push(message.command);
      return done(message.id, true);
    case 'end':
      return end();
  }
});
// The lab may have gone before we could listen.
if (process.connected) report({ type: 'ready', directory });
else end();

function report(message: FromGuardian, sent: () => void = () => undefined): void {
  // An error here means that the lab has gone, which 'disconnect' reports.
  if (process.connected && process.send !== undefined) process.send(message, undefined, {}, sent);
  else sent();
}

function done(id: number, delivered: boolean): void {
  report({ type: 'done', id, delivered });
}

function spawnServer(id: number, request: SpawnRequest): void {
  const refuse = (code: string, message: string) => report({ type: 'not-spawned', id, code, message });
  if (ending !== undefined) {
    refuse('ENDING', 'the lab is ending');
    return;
  }
  let child: ChildProcess;
  try {
    const log = openSync(request.logFile, 'a', 0o600);
    try {
      child = spawn(request.command, request.args, {
        cwd: request.cwd,
        env: request.env,
        detached: true,
        stdio: ['ignore', log, log],
        ...request.runAs,
      });
    } finally {
      closeSync(log);
    }
  } catch (error) {
    refuse((error as NodeJS.ErrnoException).code ?? 'UNKNOWN', String(error));
    return;
  }
  const { pid } = child;
  if (pid === undefined) {
    child.on('error', (error: NodeJS.ErrnoException) => refuse(error.code ?? 'UNKNOWN', error.message));
    return;
  }
  if (request.postmasterPidFile !== undefined) postmasterPidFiles.add(request.postmasterPidFile);
  const exited = new Promise<ServerExit>((resolve) => {
    child.once('exit', (code, signal) => {
      servers.delete(pid);
      // A worker that outlived its master would keep the port.
      signalGroup(pid, 'SIGKILL');
      report({ type: 'exited', pid, exit: { code, signal } });
      resolve({ code, signal });
    });
  });
  servers.set(pid, { pid, stopSignal: request.stopSignal, exited });
  report({ type: 'spawned', id, pid });
}

function askToStop({ pid, stopSignal }: GuardedServer): void {
  signalProcess(pid, stopSignal);
  resumeTree(pid);
}

async function stopServer(pid: number, limitMs: number): Promise<void> {
  const server = servers.get(pid);
  if (server === undefined) return;
  askToStop(server);
  await within(limitMs, server.exited);
  if (servers.has(pid)) killTree(pid);
  await server.exited;
}

function end(): void {
  ending ??= endAll();
}

async function endAll(): Promise<void> {
  const deadlineMs = performance.now() + STOP_LIMIT_MS;
  const leftMs = () => Math.max(0, deadlineMs - performance.now());
  const running = [...servers.values()].reverse();
  for (const server of running) {
    if (!servers.has(server.pid)) continue;
    askToStop(server);
    await within(Math.min(HEAD_START_MS, leftMs()), server.exited);
  }
  const allExited = Promise.all(running.map((server) => server.exited));
  await within(leftMs(), allExited);
  for (const pid of servers.keys()) killTree(pid);
  await within(KILL_LIMIT_MS, allExited);
  const problems = await clearAway({
    pids: [],
    postmasterPidFiles: [...postmasterPidFiles],
    atEnd,
    directory,
  });
  report({ type: 'ended', problems }, () => process.exit(0));
}

async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  try {
    await Promise.race([work, delay(limitMs, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}
