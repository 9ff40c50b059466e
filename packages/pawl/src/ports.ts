import type {
  AttemptRef,
  DurableCallChange,
  Json,
  NewDurableCall,
  Resolution,
} from './durable-call-record.ts';
import type { StoreError } from './errors.ts';
import type {
  ClaimedRecord,
  IdempotencyClaim,
  IdempotencyRecordId,
  StoredAnswer,
} from './idempotency-record.ts';

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
  /** Its text is one of few, which are sent over and over: where it can be, it is kept prepared in each session. */
  readonly prepared?: boolean;
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
  /**
   * A transaction of its own at READ COMMITTED in two round trips: its begin and `reads` are sent together, and so are its
   * COMMIT and what `decide` makes of their results. Nothing is held while anything else is waited for. Where the last decision
   * has no `writes`, or one throws, it is rolled back, and a limit of `limitLockWait` with it.
   *
   * Without `reads` it is one round trip where it can be. A single write is then a transaction by itself, at the session's
   * own isolation level.
   *
   * Absent where the driver, or the way in which it was set up, sends but one statement at a time: use `readThenWrite`, which
   * does the same in more round trips there.
   *
   * @throws StoreError  As `transaction`; whatever `decide` throws is thrown on, and nothing was committed.
   */
  readonly readThenWrite?: <T>(
    reads: readonly SqlStatement[],
    decide: (read: readonly SqlResult[]) => Decision<T> | InterimDecision<T>,
  ) => Promise<T>;
  /** Its statements wait for what others have locked for a second at most, but where `limitLockWait` has said for how long. */
  readonly waitsBriefly?: boolean;
}

/** What a transaction does upon what it has read. */
export interface Decision<T> {
  readonly writes: readonly SqlStatement[];
  /** What it came to, by the results of `writes`. Must not throw: it may be committed by then. */
  readonly result: (written: readonly SqlResult[]) => T;
}

/** Where what is written next depends on what the database made of `writes`, such as ids: one more round trip. */
export interface InterimDecision<T> {
  readonly writes: readonly SqlStatement[];
  readonly next: (written: readonly SqlResult[]) => Decision<T> | InterimDecision<T>;
}

/** A row, named by a key that is unique. */
export interface RowRef {
  readonly table: string;
  readonly key: Columns;
}

/** When a claim ends by itself: a lease. */
export interface ClaimExpiry {
  /**
   * The column that holds the lease's end, in the store's own time: `timestamptz` on PostgreSQL, `DATETIME(6)` on MySQL,
   * where it is in UTC whatever the time zone of the session. (A `timestamp` without a time zone on PostgreSQL, and a
   * `TIMESTAMP` on MySQL, would depend on that.) A claim that has NULL in it never ends.
   */
  readonly column: string;
  /** From the store's time when the claim or renewal is applied until the end, in milliseconds: 1 to a hundred years. */
  readonly leaseMs: number;
}

/** Statements that keep the failure of one statement from its transaction. */
export interface Savepoint {
  readonly set: SqlStatement;
  readonly rollBack: SqlStatement;
  readonly release: SqlStatement;
}

/** `update` keeps all others from locking and changing the row, `share` from changing it. */
export type LockMode = 'update' | 'share';

/** What becomes of the record of an idempotency key: see `IdempotencyStore`. */
export interface IdempotencyStatements {
  /** Several statements on some databases, each of which commits by itself outside a transaction. */
  claim(session: SqlPort | SqlTransaction, table: string, claim: IdempotencyClaim): Promise<ClaimedRecord>;
  renew(
    table: string,
    id: IdempotencyRecordId,
    owner: string,
    times: Pick<IdempotencyClaim, 'leaseMs' | 'retentionMs'>,
  ): SqlStatement;
  complete(
    table: string,
    id: IdempotencyRecordId,
    owner: string,
    answer: StoredAnswer,
    retentionMs: number,
  ): SqlStatement;
  release(table: string, id: IdempotencyRecordId, owner: string): SqlStatement;
  read(table: string, id: IdempotencyRecordId): SqlStatement;
}

/** An owner's answer to his record in progress. */
export type RecordCompletion = IdempotencyRecordId & {
  readonly owner: string;
  readonly change: 'complete';
  readonly answer: StoredAnswer;
  readonly retentionMs: number;
};

/** What an owner does to his record in progress. */
export type IdempotencyChange =
  | RecordCompletion
  | (IdempotencyRecordId & { readonly owner: string } & (
        | { readonly change: 'renew'; readonly leaseMs: number; readonly retentionMs: number }
        | { readonly change: 'release' }
      ));

/** `held`: somebody else has the row. */
export type ChangedRecord = 'changed' | 'fenced' | 'held';

/** As `IdempotencyStatements`, about many records at once: see `groupedIdempotencyStore`. No two are about one record. */
export interface IdempotencyBatchStatements {
  /** Reads the records that are there, for `foundOf`. */
  find(table: string, ids: readonly IdempotencyRecordId[]): SqlStatement;
  /**
   * Of what `find` has read the record of each id, in their order, with `expired`, whether its retention is over, and `is_long`: the answer's
   * body is left out, because it is longer than is read for many at once. None are there where nothing was read.
   */
  foundOf(ids: readonly IdempotencyRecordId[], found: SqlResult | undefined): readonly (Row | undefined)[];
  /** Whether an insertion waits for who has locked a record that is there: then these must be found first. */
  readonly insertsWaitForLocks: boolean;
  /**
   * Inserts records, of which some may be there, one result for each: whether it was inserted. It may fail with `DUPLICATE_KEY` instead.
   * Without `wait` it waits no longer than for a moment for somebody who inserts one of them too; then `LOCK_TIMEOUT`. (Where insertions
   * wait for locks, whoever finds the records first limits that too.)
   */
  insert(table: string, claims: readonly IdempotencyClaim[], wait: boolean): Decision<readonly boolean[]>;
  /**
   * Inserts them all, or fails where one is there, or is being inserted by somebody, whom it waits for but for a moment; where
   * `insertsWaitForLocks`, as long as the session does at most.
   */
  insertAll(table: string, claims: readonly IdempotencyClaim[]): readonly SqlStatement[];
  /** Read first: with `wait` the records are locked then, and waited for. */
  readForChange(table: string, changes: readonly IdempotencyChange[], wait: boolean): readonly SqlStatement[];
  /** By what `readForChange` has read. Records that somebody else has are passed over. One result for each, in their order. */
  change(
    table: string,
    changes: readonly IdempotencyChange[],
    read: readonly SqlResult[],
  ): Decision<readonly ChangedRecord[]>;
  /**
   * Completes them all without reading them, or fails where one is somebody else's, is not in progress, or is locked by somebody, whom it
   * waits for as long as the session does at most. Those that are not there are left out of its affected rows. Absent where `change` reads
   * none.
   */
  readonly completeAll?: (table: string, changes: readonly RecordCompletion[]) => readonly SqlStatement[];
}

/**
 * What becomes of the record of a durable call: see `DurableCallStore`. The rows that are given have the columns that
 * `durableCallFromRow` reads.
 */
export interface DurableCallStatements {
  /** Reports no row, or fails with `DUPLICATE_KEY`, where the record's id or its attempt is there. */
  insert(table: string, call: NewDurableCall): SqlStatement;
  change(table: string, id: IdempotencyRecordId, fence: number, change: DurableCallChange): SqlStatement;
  forget(table: string, id: IdempotencyRecordId, fence: number): SqlStatement;
  reopen(
    transaction: SqlTransaction,
    table: string,
    attempt: AttemptRef,
    values: { readonly value: Json; readonly leaseMs: number },
  ): Promise<Row | undefined>;
  /** Those first whose lease was over first. */
  takeOver(
    sql: SqlPort,
    table: string,
    overdue: { readonly name: string; readonly limit: number; readonly leaseMs: number },
  ): Promise<readonly Row[]>;
  read(table: string, id: IdempotencyRecordId): SqlStatement;
  /**
   * Those that are not settled, the oldest first, without what they carry. With `stuckAfterMs` those alone that are stuck, that
   * are final, or that were claimed so long ago, in milliseconds.
   */
  list(
    table: string,
    asked: {
      readonly name: string | undefined;
      readonly stuckAfterMs: number | undefined;
      readonly limit: number;
    },
  ): SqlStatement;
  /** Those whose key or subject it is, the oldest first. */
  inspect(
    table: string,
    asked: { readonly text: string; readonly scope: string | undefined; readonly limit: number },
  ): SqlStatement;
  /** Affects no row where it is settled, where its lease is not over, or where it would be `done` with an unknown value. */
  resolve(table: string, id: IdempotencyRecordId, resolution: Resolution): SqlStatement;
}

/** A call that is `done` from now on. */
export interface CompletedCall {
  readonly id: IdempotencyRecordId;
  readonly answer: StoredAnswer;
  readonly retentionMs: number;
}

/** Statements about the records of many calls, at least one each time, in transactions that their callers share. */
export interface DurableCallBatchStatements {
  /**
   * Locks the records in the order of their ids, and reads `scope`, `idempotency_key`, `fence` and `expires_at`, which is NULL while
   * it is not settled. Without `wait` those that somebody else has are passed over.
   */
  lock(table: string, ids: readonly IdempotencyRecordId[], wait: boolean): SqlStatement;
  /**
   * As `DurableCallStatements.read`, of those that are there, and `is_long`: the answer's body is left out, because it is longer than is read
   * for many at once.
   */
  find(table: string, ids: readonly IdempotencyRecordId[]): SqlStatement;
  /** Reads `subject` and `attempt` of all that are on record. */
  attempts(table: string, name: string, subjects: readonly string[]): SqlStatement;
  /** Fails with `DUPLICATE_KEY` where a record's id or its attempt is there. */
  insert(table: string, calls: readonly NewDurableCall[]): SqlStatement;
  /** Records that are there and locked. */
  complete(table: string, calls: readonly CompletedCall[]): readonly SqlStatement[];
  /** Fails, as `BatchStatements.changeRows`, where one of the records is not there, is settled, or shows another fence. */
  completeFenced(
    table: string,
    calls: readonly (CompletedCall & { readonly fence: number })[],
  ): readonly SqlStatement[];
}

/** The names of the library's tables, each with its schema in front where one was given. */
export interface PawlTables {
  readonly idempotencyKey: string;
  readonly claim: string;
  readonly durableCall: string;
  readonly migration: string;
}

/** One step in the history of the library's tables. Each of its statements makes only what is missing. */
export interface Migration {
  readonly name: string;
  /** The tables that it makes. */
  readonly creates: readonly string[];
  readonly statements: readonly string[];
  /** Made after all tables, when they are known to be the library's. */
  readonly indexes: readonly string[];
}

/** What the library's tables are made with and looked at. Statements that are text are part of `migrationStatements`. */
export interface SqlMigrations {
  /** Waited for in the transaction that migrates, and held to its end. Absent where each statement commits by itself. */
  readonly lock: SqlStatement | undefined;
  schemaExists(schema: string): SqlStatement;
  createSchema(schema: string): string;
  /** Looks where the table would be created, and nowhere else. */
  tableExists(table: string): SqlStatement;
  createMigrationTable(table: string): string;
  readApplied(table: string): SqlStatement;
  /** Affects one row, or none where the migration had been recorded. */
  record(table: string, name: string): string;
  /** Fails where the table does not have the columns. */
  readNothing(table: string, columns: readonly string[]): SqlStatement;
  /** How `readKeys` tells the unique keys of each table, without which every claim would succeed. */
  readonly keys: Readonly<Record<keyof PawlTables, readonly string[]>>;
  /**
   * Each unique key of the table that compares whole values, in every row and at once: as `key`, its columns in the order
   * of their names, with type and collation.
   */
  readKeys(table: string): SqlStatement;
  /** All migrations, in order. */
  list(tables: PawlTables): readonly Migration[];
}

/** A lock that a session of the database has, and that ends with it. */
export interface SessionLock {
  /** What it is named by: 32 bytes. */
  readonly digest: Uint8Array;
  /** The server ends the session, and with it the lock, when it has heard nothing for so long, in milliseconds. */
  readonly leaseMs: number;
}

/** What becomes of a lock that a session has. After a failure the session may have it, and must be cut. */
export interface SessionLockStatements {
  /**
   * Has the lock for this session, and the session for this lock, until `release` and `restore`. With `wait` it lasts until it
   * is the session's turn, whatever the limits of its user, but no longer than `waitMs`, in milliseconds, where that is above
   * 0. Without `wait` it is answered at once.
   *
   * @returns a fencing token: the database's time, read while it had the lock, in microseconds since 1970. Undefined: it was not
   *   granted, and the session must be restored, or ask again.
   * @throws StoreError
   */
  take(
    session: SqlSession,
    lock: SessionLock & { readonly wait: boolean; readonly waitMs?: number },
  ): Promise<number | undefined>;
  /** Lets the lease begin anew. @returns whether the session has the lock. @throws StoreError */
  renew(session: SqlSession, lock: SessionLock): Promise<boolean>;
  /** @returns whether the session had the lock. @throws StoreError */
  release(session: SqlSession, lock: SessionLock): Promise<boolean>;
  /** Makes the session as it was before. Undefined where `release`, and a `take` without success, have done so. */
  readonly restore: SqlStatement | undefined;
}

/** A type of PostgreSQL. */
export type ColumnType =
  | 'text'
  | 'bytea'
  | 'integer'
  | 'bigint'
  | 'double precision'
  | 'uuid'
  | 'timestamptz';

/**
 * What their columns are, for PostgreSQL: where it is told the types of all that are given, it reads their values in a fraction of the time.
 * The same object each time: what it says is found out once.
 * `text` are also those that are assigned from it, such as `varchar`. A value that its type does not hold is `REJECTED`.
 *
 * The column's own type and no other: what is told to be another is read as that, and then assigned, which rounds (`double precision` for
 * an `integer` or a `numeric`) or shifts (`timestamptz` for a `timestamp` or a `date`).
 */
export type ColumnTypes = Readonly<Record<string, ColumnType>>;

/** The statements of transactions that are about many rows of a table. All rows that are given have the same columns. */
export interface BatchStatements {
  /**
   * Locks the rows in the order of their keys, and reads `columns`. Without `wait` those that somebody else has are passed over.
   * With `nowAs` the store's time too, as `readRows` does; with `wait` it may be that of before the wait.
   */
  lockRows(rows: {
    table: string;
    keys: readonly Columns[];
    columns: readonly string[];
    wait: boolean;
    nowAs?: string;
  }): SqlStatement;
  /** Reads `columns` of the rows that are there, and with `nowAs` the store's time under that name, in milliseconds since 1970. */
  readRows(rows: {
    table: string;
    keys: readonly Columns[];
    columns: readonly string[];
    nowAs?: string;
  }): SqlStatement;
  /**
   * Sets the columns `set`, of the same length as `keys`, in rows that are there.
   *
   * @throws MisuseError  A key comes twice, or a column of the keys is set: it depends on the order then what is.
   */
  updateRows(rows: {
    table: string;
    keys: readonly Columns[];
    set: readonly Columns[];
    types?: ColumnTypes | undefined;
  }): readonly SqlStatement[];
  /**
   * As `updateRows`, of rows that are there, hold `expect` and are nobody else's: where one is not so, it fails (`REJECTED`, or
   * `LOCK_TIMEOUT` after a moment for each row), and with it the transaction. Nothing is read for it, so it goes in one message with what follows.
   */
  changeRows(rows: {
    table: string;
    keys: readonly Columns[];
    expect: Columns;
    set: readonly Columns[];
    types?: ColumnTypes | undefined;
  }): readonly SqlStatement[];
  /**
   * Fails with `DUPLICATE_KEY` where one of them is there.
   *
   * @param now  Columns that are set to the store's time besides.
   */
  insertRows(rows: {
    table: string;
    rows: readonly Columns[];
    now?: readonly string[];
    types?: ColumnTypes | undefined;
  }): SqlStatement;
}

/** The statements of one database: `postgres/` and `mysql/`. Nothing outside such a folder contains SQL. */
export interface SqlDialect {
  readonly name: 'postgres' | 'mysql';
  readonly migrations: SqlMigrations;
  /** Reads the driver's code. Answers what is already a StoreError as it is. */
  classifyError(error: unknown): StoreError;
  conditionalUpdate(
    row: RowRef & { expect: Columns; set: Columns; increment?: string | undefined },
  ): SqlStatement;
  /** Sets `column` to `token` where it holds less. */
  raiseFence(row: RowRef & { expect: Columns; column: string; token: number }): SqlStatement;
  /** Reports no row, or fails with `DUPLICATE_KEY`, where somebody else has the claim. */
  claim(row: RowRef & { values: Columns; expiry?: ClaimExpiry | undefined }): SqlStatement;
  /** With `lease`, also a column `overAs`, which says whether the lease is over. */
  readClaim(row: RowRef & { lease?: { column: string; overAs: string } | undefined }): SqlStatement;
  /** Changes the row only where its lease is over. */
  takeOverClaim(row: RowRef & { values: Columns; expiry: ClaimExpiry }): SqlStatement;
  renewClaim(row: RowRef & { owner: Columns; expiry: ClaimExpiry }): SqlStatement;
  releaseClaim(row: RowRef & { owner: Columns }): SqlStatement;
  /** Deletes the first rows, and no more than `limit`, whose moment in `column` is past. */
  sweepExpired(sweep: { table: string; column: string; limit: number }): SqlStatement;
  /** Given where a statement that meets a duplicate key ends its transaction. */
  readonly savepoint: Savepoint | undefined;
  readonly idempotencyKey: IdempotencyStatements;
  readonly idempotencyBatch: IdempotencyBatchStatements;
  readonly durableCall: DurableCallStatements;
  readonly durableCallBatch: DurableCallBatchStatements;
  readonly batch: BatchStatements;
  /** Limits every later lock wait of the transaction, or of the session, until `restoreLockWait`. */
  limitLockWait(waitMs: number): SqlStatement;
  /** Makes the limit what it was before. */
  readonly restoreLockWait: SqlStatement;
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
  readonly sessionLock: SessionLockStatements;
}

/** The whole of what the Redis guards need: one command, and its reply as the driver decodes it. */
export interface RedisPort {
  /**
   * Sends the command once, and never again.
   *
   * @throws StoreError  `UNAVAILABLE`, nothing was done; `CONNECTION_LOST`, it may have taken effect, or may yet;
   *   `UNKNOWN_SCRIPT`, to EVALSHA; `REJECTED`, whose `effect` is `unknown` where a script may have written before it failed.
   */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown>;
}

/** What a subscription tells. */
export interface RedisListener {
  message(text: string): void;
  /** The channel is listened to from now on, for the first time or again: what was published before may have been missed. */
  listening(): void;
  /** The connection is lost; what is published until `listening` is missed. */
  lost(): void;
}

/** A connection to Redis that does nothing but listen. */
export interface RedisSubscriber {
  /** Listens to `channel` until it is stopped, over as many connections as that takes. */
  subscribe(channel: string, listener: RedisListener): RedisSubscription;
}

export interface RedisSubscription {
  /** Nothing is told any more. */
  stop(): void;
  /** Something was missed although the connection seems to be there: it is dropped, and another is opened. */
  replace(): void;
}

/**
 * One session of a database, for what lasts as long as the session does.
 *
 * A statement of it may last as long as it likes: whoever has had enough of it cuts the session. Where the database takes
 * several statements in one message, as PostgreSQL does those without values, the result is that of the last.
 */
export interface SqlOwnSession extends SqlSession {
  /**
   * `told` is called once, when the connection is lost, also while nothing is sent on it; of several the last one that was
   * given. Where it is lost already, soon.
   */
  onLost(told: (cause: unknown) => void): void;
  /** Gives the connection back, to be used by others: the session must be as it was when it was lent. */
  release(): void;
  /** Ends the connection, and with it what the server does for it. A statement in flight fails, `CONNECTION_LOST`. */
  cut(): void;
}

/** Where sessions of one's own come from. An adapter gives it for a driver. */
export interface SqlSessions {
  readonly dialect: SqlDialect;
  /** @throws StoreError  `UNAVAILABLE`. */
  session(): Promise<SqlOwnSession>;
}
