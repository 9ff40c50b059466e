import { type ChildProcess, spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { clearAway } from './clear-away.ts';
import { ClusterSetupError, GuardianLostError, ServerStartError } from './errors.ts';
import type {
  FromGuardian,
  ProcessCommand,
  ServerExit,
  SpawnRequest,
  ToGuardian,
} from './guardian-messages.ts';
import { ownMain } from './own-main.ts';

/** How long a server that is stopped alone may take before it is killed, in milliseconds. */
const STOP_LIMIT_MS = 4_000;
/** How long the guardian may take to end everything; longer than its own limits together, in milliseconds. */
const END_LIMIT_MS = 20_000;
/** How much of what a dying guardian wrote is kept, in characters. */
const LAST_WORDS_LIMIT = 2_000;

/** A server that the guardian started. */
export interface GuardedProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Settles when it has ended for whatever reason; never rejects. */
  readonly exited: Promise<ServerExit>;
  /** Asks it to end, and kills its process group after `limitMs`. Resolves when it has ended. */
  stop(limitMs?: number): Promise<ServerExit>;
  /**
   * Sends a signal to its process group: `SIGKILL`, `SIGSTOP`, `SIGCONT`, …
   *
   * @returns false when it had already ended.
   */
  signal(signal: NodeJS.Signals): Promise<boolean>;
  /** Whether the lab has stopped or killed it: then its end is none of its own. */
  wasEndedByLab(): boolean;
}

/** The process that outlives the lab just long enough to leave nothing behind. */
export interface Guardian {
  readonly pid: number;
  /** The throw-away directory, absolute; removed with the guardian. */
  readonly directory: string;
  /** Aborted with a GuardianLostError when the guardian dies; by then nothing that it started is left. */
  readonly lost: AbortSignal;
  /** What runs now, in order of start. */
  processes(): readonly GuardedProcess[];
  /**
   * Starts a server in a process group of its own.
   *
   * @throws ServerStartError   SPAWN_FAILED: it could not be started at all, `cause.code` says why.
   * @throws GuardianLostError  The guardian died; nothing runs.
   */
  spawn(request: SpawnRequest): Promise<GuardedProcess>;
  /** Has a command run when all servers have ended, also when the lab was killed. It has a few seconds. */
  atEnd(command: ProcessCommand): Promise<void>;
  /**
   * Ends all servers in reverse order of start, runs the closing commands, removes the directory, and ends the
   * guardian. Resolves when nothing is left; the same promise on every call.
   *
   * @returns one sentence for each thing that could not be cleared away.
   */
  end(): Promise<readonly string[]>;
}

interface Tracked {
  process: GuardedProcess;
  ended(exit: ServerExit): void;
}

interface Call {
  answer(reply: FromGuardian): void;
  reject(error: unknown): void;
}

type Request<T extends ToGuardian = ToGuardian> = T extends { id: number } ? Omit<T, 'id'> : never;

/**
 * Starts the guardian and its throw-away directory.
 *
 * @throws ClusterSetupError  NO_TEMPORARY_DIRECTORY: there is none that can be written to.
 * @throws GuardianLostError  It could not start.
 */
export async function startGuardian(): Promise<Guardian> {
  await checkTemporaryDirectory();
  const child = spawn(process.execPath, [ownMain('guardian-main')], {
    cwd: '/',
    // A session of its own: Ctrl-C in the lab's terminal does not reach it.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const tracked = new Map<number, Tracked>();
  const calls = new Map<number, Call>();
  // Kept here as well, for the case that the guardian cannot do its last work.
  const postmasterPidFiles = new Set<string>();
  const atEnd: ProcessCommand[] = [];
  const lost = new AbortController();
  const ready = Promise.withResolvers<string>();
  const gone = Promise.withResolvers<void>();
  const lastWords = keepLastWords(child);
  let directory: string | undefined;
  let problems: readonly string[] | undefined;
  let ending: Promise<readonly string[]> | undefined;
  let nextId = 1;

  child.on('message', (message: FromGuardian) => {
    switch (message.type) {
      case 'ready':
        directory = message.directory;
        return ready.resolve(message.directory);
      case 'exited': {
        const server = tracked.get(message.pid);
        tracked.delete(message.pid);
        return server?.ended(message.exit);
      }
      case 'ended':
        problems = message.problems;
        return;
      default: {
        const call = calls.get(message.id);
        calls.delete(message.id);
        return call?.answer(message);
      }
    }
  });
  child.once('error', (error) => onGone(error.message));
  // Its last messages may still be on their way when it exits, so both ends of the news are awaited.
  const drained = new Promise((resolve) => child.once('disconnect', resolve));
  child.once('close', (code, signal) => {
    void drained.then(() => onGone(`it ended with ${signal ?? `code ${code}`}`));
  });

  let handled = false;
  /** Runs once, when the guardian has ended; in order only if it said so. */
  function onGone(how: string): void {
    if (handled) return;
    handled = true;
    void settle(how).finally(gone.resolve);
  }

  async function settle(how: string): Promise<void> {
    const error = new GuardianLostError(
      `the guardian process was lost: ${[how, lastWords()].join('\n').trim()}`,
    );
    const orphans = [...tracked.values()];
    if (problems === undefined && directory !== undefined) {
      problems = await clearAway({
        pids: orphans.map(({ process: { pid } }) => pid),
        postmasterPidFiles: [...postmasterPidFiles],
        atEnd,
        directory,
      });
      if (ending === undefined) lost.abort(error);
    }
    ready.reject(error);
    for (const call of calls.values()) call.reject(error);
    calls.clear();
    tracked.clear();
    for (const orphan of orphans) orphan.ended({ code: null, signal: 'SIGKILL' });
  }

  function send(message: ToGuardian): void {
    // A failed send means a guardian that has died, which its 'exit' reports.
    if (child.connected) child.send(message, () => undefined);
  }

  /** `read` runs as the reply arrives, before the next message: an 'exited' may follow at once. */
  function call<T>(request: Request, read: (reply: FromGuardian) => T): Promise<T> {
    if (handled) return Promise.reject(lost.signal.reason ?? new GuardianLostError('the guardian has ended'));
    const id = nextId++;
    return new Promise((resolve, reject) => {
      const answer = (reply: FromGuardian) => {
        try {
          resolve(read(reply));
        } catch (error) {
          reject(error);
        }
      };
      calls.set(id, { answer, reject });
      send({ ...request, id });
    });
  }

  function track(request: SpawnRequest, pid: number): GuardedProcess {
    const exited = Promise.withResolvers<ServerExit>();
    let endedByLab = false;
    const guarded: GuardedProcess = {
      name: request.name,
      pid,
      logFile: request.logFile,
      exited: exited.promise,
      async stop(limitMs = STOP_LIMIT_MS) {
        endedByLab ||= tracked.has(pid);
        if (tracked.has(pid)) await call({ type: 'stop', pid, limitMs }, () => undefined);
        return exited.promise;
      },
      async signal(signal) {
        if (!tracked.has(pid)) return false;
        endedByLab ||= signal === 'SIGKILL' || signal === 'SIGTERM';
        return call({ type: 'signal', pid, signal }, (reply) => reply.type === 'done' && reply.delivered);
      },
      wasEndedByLab: () => endedByLab,
    };
    if (request.postmasterPidFile !== undefined) postmasterPidFiles.add(request.postmasterPidFile);
    tracked.set(pid, { process: guarded, ended: exited.resolve });
    return guarded;
  }

  async function endEverything(): Promise<readonly string[]> {
    const timer = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS);
    send({ type: 'end' });
    await gone.promise;
    clearTimeout(timer);
    return problems ?? [];
  }

  const itsDirectory = await ready.promise;
  return {
    pid: child.pid ?? 0,
    directory: itsDirectory,
    lost: lost.signal,
    processes: () => [...tracked.values()].map((server) => server.process),
    spawn: (request) =>
      call({ type: 'spawn', request }, (reply) => {
        if (reply.type === 'spawned') return track(request, reply.pid);
        const { code, message } = reply.type === 'not-spawned' ? reply : { code: 'UNKNOWN', message: '' };
        const cause = Object.assign(new Error(message), { code });
        throw new ServerStartError('SPAWN_FAILED', request.name, `could not be started: ${message}`, '', {
          cause,
        });
      }),
    async atEnd(command) {
      atEnd.push(command);
      await call({ type: 'at-end', command }, () => undefined);
    },
    end() {
      ending ??= endEverything();
      return ending;
    },
  };
}

async function checkTemporaryDirectory(): Promise<void> {
  try {
    await access(tmpdir(), constants.W_OK | constants.X_OK);
  } catch (cause) {
    const message = `the temporary directory ${tmpdir()} cannot be written to; set TMPDIR to one that can`;
    throw new ClusterSetupError('NO_TEMPORARY_DIRECTORY', message, { cause });
  }
}

function keepLastWords(child: ChildProcess): () => string {
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-LAST_WORDS_LIMIT);
  });
  return () => words;
}
