/**
 * One statement that waits for a lock, as the database shows it: the same shape for all of them. What a database does
 * not know is undefined, never guessed.
 */
export interface LockWait {
  /**
   * `row`: another transaction has locked or changed a row, or has inserted a key. `table`: the table itself.
   * `metadata`: its definition (MariaDB, MySQL; in PostgreSQL that is a `table`). `advisory`: a lock that only
   * applications know, such as `GET_LOCK`.
   */
  kind: 'row' | 'table' | 'metadata' | 'advisory' | 'other';
  waiter: {
    /** The session's number: PostgreSQL's process id, MariaDB's connection id. */
    session: string;
    application: string | undefined;
    statement: string | undefined;
    /** How long the statement has been running: what the same session waits for later is another wait. */
    statementMs: number;
  };
  /** Who stands in the way; empty when the database does not tell. */
  holders: LockHolder[];
  /** Qualified only where it is not in the schema of the one who looks. */
  table: string | undefined;
  /** Where locks are on index records (InnoDB): which index. Always undefined on PostgreSQL, which has none. */
  index: string | undefined;
  /** Which row: InnoDB's key as text (`supremum pseudo-record` is the gap at the end), PostgreSQL's `(page,line)`. */
  record: string | undefined;
  /** What is asked for, in the database's own word: `X`, `AccessExclusiveLock`. */
  mode: string | undefined;
  /** On what, in the database's own word: `RECORD`, `TABLE`, `transactionid`, `tuple`, `relation`. */
  lockType: string;
  waitedMs: number;
}

export interface LockHolder {
  session: string;
  application: string | undefined;
  /** What it runs now; undefined while it is idle in its transaction. */
  statement: string | undefined;
  /** What it ran last, where the database remembers it (PostgreSQL). */
  lastStatement: string | undefined;
  /** It holds the lock and does nothing: its client is elsewhere, perhaps with a payment provider. */
  idleInTransaction: boolean;
  /** False where the database does not say who holds the lock: then this one may. */
  certain: boolean;
}

/** What InnoDB itself counts: row-lock waits and their whole length, of the whole server since it started. */
export interface RowLockCounters {
  waits: number;
  waitedMs: number;
}

/** Looks at the locks of one database, on a connection of its own. */
export interface LockView {
  readonly product: 'PostgreSQL' | 'MariaDB' | 'MySQL';
  /**
   * Everybody in the database who waits for a lock at this moment; empty when nobody does.
   *
   * Not to be called again before it has answered. On InnoDB it takes 0.1 to 0.2 s: see `mysql.ts`.
   *
   * @throws LockViewError  SLOW: it may be tried again. LOST: the view is of no further use.
   */
  sample(): Promise<LockWait[]>;
  /**
   * InnoDB's own counters; null on PostgreSQL, which has none.
   *
   * @throws as `sample` does
   */
  counters(): Promise<RowLockCounters | null>;
  /** Never throws. */
  close(): Promise<void>;
}
