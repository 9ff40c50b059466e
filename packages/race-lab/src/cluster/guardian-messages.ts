/** What the guardian's process calls itself. */
export const GUARDIAN_TITLE = 'race-lab guardian';

/** How the names of throw-away directories begin. */
export const THROW_AWAY_PREFIX = 'race-lab-';

/** A program to start. It sees exactly `env` and nothing of the lab's own environment. */
export interface ProcessCommand {
  /** Unique among what runs at the same time; shown in errors. */
  name: string;
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
}

/** A server to start in its own session and process group. */
export interface SpawnRequest extends ProcessCommand {
  /** Takes its standard output and error; appended to. */
  logFile: string;
  /** Asks it to end in order. */
  stopSignal: NodeJS.Signals;
  /** Whom it runs as, when not as the lab's own user. */
  runAs?: { uid: number; gid: number };
  /** PostgreSQL only: where a postmaster that was killed leaves the id of its shared memory. */
  postmasterPidFile?: string;
}

/** How a process ended: one of the two is null. */
export interface ServerExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export type ToGuardian =
  | { type: 'spawn'; id: number; request: SpawnRequest }
  | { type: 'stop'; id: number; pid: number; limitMs: number }
  | { type: 'signal'; id: number; pid: number; signal: NodeJS.Signals }
  | { type: 'at-end'; id: number; command: ProcessCommand }
  | { type: 'end' };

export type FromGuardian =
  | { type: 'ready'; directory: string }
  | { type: 'spawned'; id: number; pid: number }
  | { type: 'not-spawned'; id: number; code: string; message: string }
  | { type: 'done'; id: number; delivered: boolean }
  | { type: 'exited'; pid: number; exit: ServerExit }
  | { type: 'ended'; problems: readonly string[] };
