import type { StoreError } from './errors.ts';

/** What a guard may send to a database as a parameter. */
export type SqlValue = string | number | bigint | boolean | Date | Uint8Array | null;

/**
 * Columns and their values, as a condition (all must match) or as an assignment.
 *
 * Give each the type of its column: MySQL compares a text column with the number 0 as numbers, and finds every text.
 */
export type Columns = Readonly<Record<string, SqlValue>>;

export type Row = Readonly<Record<string, unknown>>;

export interface SqlStatement {
  readonly text: string;
  readonly values: readonly SqlValue[];
}

export interface SqlResult {
  readonly rows: readonly Row[];
  /**
   * Rows that an update or a deletion found, also where it changed nothing in them, or that were inserted. A statement
   * whose condition fails reports 0.
   */
  readonly affectedRows: number;
}

/** Something that runs single statements: a pool, or one transaction. */
export interface SqlSession {
  readonly dialect: SqlDialect;
  /** @throws StoreError */
  execute(statement: SqlStatement): Promise<SqlResult>;
}

/** An open transaction. What a guard does through it commits, or vanishes, with the caller's own rows. */
export interface SqlTransaction extends SqlSession {
  readonly inTransaction: true;
}

/** The whole of what the SQL guards need of a database. An adapter gives it for a driver. */
export interface SqlPort<Transaction extends SqlTransaction = SqlTransaction> extends SqlSession {
  /**
   * Runs `work` in a transaction of its own at READ COMMITTED: commits when it resolves, rolls back when it
   * rejects.
   *
   * @throws StoreError  `effect: 'none'` when the transaction did not commit; `'unknown'` when the answer to
   *   its COMMIT was lost. A COMMIT that the server answered with ROLLBACK is `ROLLED_BACK`.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
}

/** A row, named by a key that is unique. */
export interface RowRef {
  readonly table: string;
  readonly key: Columns;
}

/** `update` keeps all others from locking and changing the row, `share` from changing it. */
export type LockMode = 'update' | 'share';

/** The statements of one database: `postgres/` and `mysql/`. Nothing outside such a folder contains SQL. */
export interface SqlDialect {
  readonly name: 'postgres' | 'mysql';
  /** Reads the driver's code. Answers what is already a StoreError as it is. */
  classifyError(error: unknown): StoreError;
  conditionalUpdate(
    row: RowRef & { expect: Columns; set: Columns; increment?: string | undefined },
  ): SqlStatement;
  /** Reports no row, or fails with `DUPLICATE_KEY`, where somebody else has the claim. */
  claim(row: RowRef & { values: Columns }): SqlStatement;
  readClaim(row: RowRef): SqlStatement;
  releaseClaim(row: RowRef & { owner: Columns }): SqlStatement;
  /** Limits every later lock wait of the transaction, or of the session where `restoreLockWait` is given. */
  limitLockWait(waitMs: number): SqlStatement;
  /** Gives the session's limit back, where it would outlive the transaction. */
  readonly restoreLockWait: SqlStatement | undefined;
  lockRow(
    row: RowRef & { expect: Columns; columns: readonly string[]; mode: LockMode; noWait: boolean },
  ): SqlStatement;
  lockAvailableRows(rows: {
    table: string;
    expect: Columns;
    columns: readonly string[];
    orderBy: string;
    limit: number;
  }): SqlStatement;
}

/** The whole of what the Redis guards need: one command, and its reply as the driver decodes it. */
export interface RedisPort {
  /** @throws StoreError  `UNAVAILABLE`, nothing was sent; `CONNECTION_LOST`, it may have taken effect. */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown>;
}
