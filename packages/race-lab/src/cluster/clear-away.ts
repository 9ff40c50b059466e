import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ProcessCommand } from './guardian-messages.ts';
import { killTree } from './process-tree.ts';

const run = promisify(execFile);

/** How long one closing command may take, in milliseconds. */
const COMMAND_LIMIT_MS = 5_000;

/** What a lab leaves when its servers are not ended in order. */
export interface Leftovers {
  /** Servers that still run. */
  pids: readonly number[];
  postmasterPidFiles: readonly string[];
  /** To be run once the servers are gone, last registered first. */
  atEnd: readonly ProcessCommand[];
  directory: string;
}

/**
 * Kills the servers that are left, runs the closing commands and removes the throw-away directory.
 *
 * @returns one sentence for each thing that could not be cleared away; never throws.
 */
export async function clearAway({
  pids,
  postmasterPidFiles,
  atEnd,
  directory,
}: Leftovers): Promise<string[]> {
  const problems: string[] = [];
  const attempt = async (what: string, work: () => unknown) => {
    try {
      await work();
    } catch (error) {
      problems.push(`${what}: ${reasonOf(error)}`);
    }
  };
  for (const pid of pids) await attempt(`process ${pid} could not be killed`, () => killTree(pid));
  for (const file of postmasterPidFiles) {
    await attempt('shared memory of PostgreSQL was left', () => removeSharedMemory(file));
  }
  for (const { name, command, args, env, cwd } of atEnd.toReversed()) {
    await attempt(`${name} failed`, () =>
      run(command, [...args], { env: { ...env }, cwd, timeout: COMMAND_LIMIT_MS, killSignal: 'SIGKILL' }),
    );
  }
  // Retried, because a PostgreSQL backend that has just lost its postmaster may still write a last file.
  await attempt(`directory ${directory} was left`, () =>
    rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }),
  );
  return problems;
}

/**
 * Removes the System V segment of a postmaster that was killed.
 *
 * PostgreSQL keeps one as an interlock, and it outlives its processes. A postmaster that ended in order has
 * removed both the segment and the file.
 *
 * @see https://www.postgresql.org/docs/18/storage-file-layout.html on postmaster.pid
 */
async function removeSharedMemory(postmasterPidFile: string): Promise<void> {
  if (!existsSync(postmasterPidFile)) return;
  const keyAndId = readFileSync(postmasterPidFile, 'latin1').split('\n')[6] ?? '';
  const id = /^\s*\d+\s+(\d+)\s*$/.exec(keyAndId)?.[1];
  if (id !== undefined) await run('ipcrm', ['-m', id], { timeout: COMMAND_LIMIT_MS });
}

function reasonOf(error: unknown): string {
  const stderr = (error as { stderr?: unknown }).stderr;
  if (typeof stderr === 'string' && stderr.trim() !== '') return stderr.trim();
  return error instanceof Error ? error.message : String(error);
}
