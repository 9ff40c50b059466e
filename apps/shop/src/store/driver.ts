import type { Dialect } from 'kysely';
import type { SqlDialect, SqlPort, SqlSessions } from 'pawl';

/** A server that has fallen silent does not end its statements: then the client gives up, this much later. */
export const ANSWER_MARGIN_MS = 2_000;

/** What the two databases have in common; every time in milliseconds. */
export interface DriverOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly poolSize: number;
  readonly connectTimeoutMs: number;
  /** How long a statement waits for somebody else's lock; whole seconds on MySQL, rounded up. */
  readonly lockWaitMs: number;
  readonly statementTimeoutMs: number;
  readonly idleInTransactionTimeoutMs: number;
  onIdleError(error: Error): void;
}

/** What is different: the driver with its limits, and the statements of the guards. */
export interface Driver {
  readonly kysely: Dialect;
  readonly guards: SqlDialect;
}

/** Connections for group commit alone, over which several statements are sent at once. */
export interface Groups {
  readonly sql: SqlPort;
  end(): Promise<unknown>;
}

/** Sessions for locks alone, each of which keeps one for as long as it is held or waited for. */
export interface LockSessions {
  readonly sessions: SqlSessions;
  end(): Promise<unknown>;
}

export type LockSessionOptions = Pick<
  DriverOptions,
  'url' | 'applicationName' | 'poolSize' | 'connectTimeoutMs' | 'statementTimeoutMs'
>;
