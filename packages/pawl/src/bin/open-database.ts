import type { SqlPort } from '../ports.ts';

/** The connection of a command. */
export interface OpenDatabase {
  readonly sql: SqlPort;
  close(): Promise<void>;
}

/** How long a command waits, in milliseconds; by themselves the drivers would wait for ever. */
export const limits = {
  /** For a connection that is ready. */
  connectMs: 10_000,
  /** For somebody else's lock, on a row, a table or the migration; whole seconds on MySQL. */
  lockWaitMs: 60_000,
  /** For a statement, its waits included. */
  statementMs: 120_000,
  /** For the answer to it: a server that has fallen silent does not end its statements. */
  answerMs: 122_000,
} as const;
