import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished, vi } from 'vitest';
import { withDatabase } from '../../src/cluster/database-session.ts';
import { type Guardian, startGuardian } from '../../src/cluster/guardian.ts';
import type { SpawnRequest } from '../../src/cluster/guardian-messages.ts';
import { freePort } from '../../src/cluster/ports.ts';

export { until } from '../../../../test/barrier.ts';

export const STAND_IN = fileURLToPath(new URL('fixtures/stand-in-service.ts', import.meta.url));
export const LAB_MAIN = fileURLToPath(new URL('fixtures/lab-main.ts', import.meta.url));
export const never = new AbortController().signal;

/** What a lab with this temporary directory has left: names in the directory, and processes. */
export interface Remains {
  files: string[];
  processes: string[];
}

/** A temporary directory of this test's own, which every process that the test starts inherits. */
export function temporaryDirectory(): string {
  const tmp = mkdtempSync(join(tmpdir(), 'cluster-test-'));
  // As open as /tmp: servers may run as another user.
  chmodSync(tmp, 0o777);
  vi.stubEnv('TMPDIR', tmp);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(tmp, { recursive: true, force: true });
  });
  return tmp;
}

/** `count` ports in a row that are free. */
export async function freeRange(count: number): Promise<number> {
  for (;;) {
    const ports = await Promise.all(Array.from({ length: count }, () => freePort.next()));
    const sorted = ports.toSorted((a, b) => a - b);
    const [first = 0] = sorted;
    if (sorted.at(-1) === first + count - 1) return first;
  }
}

/** A guardian that ends with the test. */
export async function testGuardian(): Promise<{ guardian: Guardian; tmp: string }> {
  const tmp = temporaryDirectory();
  const guardian = await startGuardian();
  onTestFinished(async () => void (await guardian.end()));
  return { guardian, tmp };
}

/** A request for a stand-in service with these settings. */
export function standInRequest(
  guardian: Guardian,
  name: string,
  env: Record<string, string> = {},
): SpawnRequest {
  return {
    name,
    command: process.execPath,
    args: [STAND_IN],
    env: { TMPDIR: process.env.TMPDIR ?? '', SERVER_NAME: name, HOST: '127.0.0.1', PORT: '0', ...env },
    cwd: guardian.directory,
    logFile: join(guardian.directory, `${name}.log`),
    stopSignal: 'SIGTERM',
  };
}

/**
 * Everything of the labs that were started with `tmp` as their temporary directory.
 *
 * Found by working directory and environment in /proc rather than from the pids that the lab knows of, so that a
 * process that the lab forgot is found too.
 */
export function remainsOf(tmp: string): Remains {
  const processes = readdirSync('/proc').filter(
    (pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && belongsTo(pid, tmp),
  );
  return { files: readdirSync(tmp), processes: processes.map(describeProcess) };
}

export function nothing({ files, processes }: Remains): boolean {
  return files.length === 0 && processes.length === 0;
}

/** The throw-away schemas on a server, or databases where that is the same. */
export async function labSchemas(databaseUrl: string): Promise<string[]> {
  const statement = `SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name LIKE 'race_lab_%'`;
  const rows = await withDatabase(databaseUrl, 10_000, (query) => query(statement));
  return rows.map(({ name }) => String(name));
}

/** The user id that a process runs as. */
export function uidOf(pid: number): number {
  return Number(/^Uid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]);
}

/** Whether a process runs; one that has ended and waits to be reaped does not. */
export function isRunning(pid: number): boolean {
  const state = /^State:\s+(\S)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z';
}

export function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // It has ended meanwhile.
  }
}

function belongsTo(pid: string, tmp: string): boolean {
  if (!isRunning(Number(pid))) return false;
  if (read(`/proc/${pid}/environ`).split('\0').includes(`TMPDIR=${tmp}`)) return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(tmp);
  } catch {
    return false; // It has ended meanwhile, or belongs to somebody else.
  }
}

function describeProcess(pid: string): string {
  return `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`;
}
