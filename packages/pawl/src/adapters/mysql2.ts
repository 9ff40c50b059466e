import { MisuseError, StoreError } from '../errors.ts';
import { mysql } from '../mysql/index.ts';
import { LIMIT_LOCK_WAIT } from '../mysql/pessimistic-lock.ts';
import type {
  Decision,
  InterimDecision,
  SqlOwnSession,
  SqlPort,
  SqlResult,
  SqlSessions,
  SqlStatement,
  SqlValue,
} from '../ports.ts';
import { LONGEST_TIMER_MS } from '../timers.ts';
import { withLiterals } from './mysql-literals.ts';
import { type Mysql2Connection, type Mysql2Query, Mysql2Session } from './mysql2-session.ts';
import { neverCommitted } from './never-committed.ts';
import { requireTimeouts } from './timeouts.ts';
import { transactionHandle } from './transaction-handle.ts';

/** What this adapter needs of a pool of `mysql2` (not of `mysql2/promise`: its `pool.pool` is one). */
export interface Mysql2Pool {
  getConnection(answer: (error: unknown, connection: Mysql2Connection) => void): void;
  readonly config?: object;
}

/** `mysql2` has no such limits of its own, and would wait for ever. */
export interface Mysql2Options {
  /** How long to wait for a connection of the pool that is ready, in milliseconds. Then `UNAVAILABLE`; nothing was sent. */
  readonly acquireTimeoutMs: number;
  /** How long to wait for the answer to a statement, in milliseconds. Then `CONNECTION_LOST`: it may take effect. */
  readonly queryTimeoutMs: number;
  /**
   * Statements that each new connection runs before it is lent: the session's time zone, isolation level, mode. One that
   * fails costs the connection; then `UNAVAILABLE`.
   */
  readonly setUp?: readonly string[];
}

/**
 * A pool whose every error is a `StoreError`, and whose transactions end when they are broken (`MysqlTransaction`).
 * Give it to whatever runs statements over `mysql2` beside the guards
 * (`new MysqlDialect({ pool: classifiedMysql2Pool(pool, options) })`).
 *
 * @throws MisuseError  At once: a time-out that is none, or a pool of `mysql2/promise`. On the first connection: the pool does not count found rows (`flags: ['-FOUND_ROWS']`), so that
 *   an update which finds its row as it should be would look like one that lost; or it resets its connections
 *   (`resetOnRelease`), and with them what `setUp` has set.
 */
export function classifiedMysql2Pool<Pool extends Mysql2Pool>(pool: Pool, options: Mysql2Options): Pool {
  const { acquireTimeoutMs, queryTimeoutMs } = options;
  requireTimeouts({ acquireTimeoutMs, queryTimeoutMs });
  // Its connections come by a promise, and would be taken and never given back.
  if ('pool' in pool)
    throw new MisuseError('give the pool of mysql2, not of mysql2/promise: its `pool` is one');
  const known = new WeakMap<Mysql2Connection, Mysql2Connection>();

  /** One wrapper for each connection: callers keep what they know of a connection by its identity. */
  async function wrap(connection: Mysql2Connection): Promise<Mysql2Connection> {
    const wrapped = known.get(connection);
    if (wrapped !== undefined) return wrapped;
    const session = new Mysql2Session(connection, options.queryTimeoutMs);
    try {
      refuseUnfit(pool, connection);
      for (const sql of [COMMITS_BY_ITSELF, ...(options.setUp ?? [])]) await session.run('query', { sql });
    } catch (error) {
      session.cut();
      throw error instanceof MisuseError ? error : unavailable(error);
    }
    const fresh = classified(connection, session);
    known.set(connection, fresh);
    sessionOf.set(fresh, session);
    return fresh;
  }

  function acquire(): Promise<Mysql2Connection> {
    return new Promise((resolve, reject) => {
      let tooLate = false;
      const limit = setTimeout(() => {
        tooLate = true;
        reject(unavailable(new Error(`no connection was ready within ${acquireTimeoutMs} ms`)));
      }, acquireTimeoutMs);
      const ready = (connection: Mysql2Connection) => {
        clearTimeout(limit);
        if (tooLate) connection.release();
        else resolve(connection);
      };
      const failed = (error: unknown) => {
        clearTimeout(limit);
        reject(error);
      };
      pool.getConnection((error, connection) => {
        if (error) failed(unavailable(error));
        else if (tooLate) connection.release();
        else wrap(connection).then(ready, failed);
      });
    });
  }

  const getConnection: Mysql2Pool['getConnection'] = (answer) => {
    acquire().then(
      (connection) => answer(null, connection),
      (error: unknown) => answer(error, undefined as never),
    );
  };
  return new Proxy(pool, {
    get: (target, name) => (name === 'getConnection' ? getConnection : boundMember(target, name)),
  });
}

/** Of each connection that is lent. */
const sessionOf = new WeakMap<Mysql2Connection, Mysql2Session>();

export interface Mysql2PortOptions extends Mysql2Options {
  /**
   * The pool is for groups (`groupCommit` and what is built on it), and for nothing else. Each new connection is set, after `setUp`, to
   * READ COMMITTED, which is then not said to each transaction, and to wait for rows that others have locked for a second at most, but where a
   * guard says for how long. Groups try then in one message what they would otherwise do in two. Default: false.
   */
  readonly forGroups?: boolean;
}

/** InnoDB counts whole seconds. */
const FOR_GROUPS: readonly string[] = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'SET SESSION innodb_lock_wait_timeout = 1',
];

/**
 * The SQL port over a pool of `mysql2`. Where the pool has `multipleStatements: true`, transactions of two round trips are had
 * (`readThenWrite`); group commit needs them to be fast. Give it a pool for that alone: text that others put together, and should not,
 * may then hold several statements.
 */
export function mysql2Port(pool: Mysql2Pool, options: Mysql2PortOptions): SqlPort {
  const { forGroups = false, setUp = [] } = options;
  const classifiedPool = classifiedMysql2Pool(pool, {
    ...options,
    setUp: forGroups ? [...setUp, ...FOR_GROUPS] : setUp,
  });
  const begin = forGroups ? BEGIN.slice(1) : BEGIN;

  return {
    dialect: mysql,
    waitsBriefly: forGroups,
    ...(takesSeveral(pool) && {
      readThenWrite: (reads, decide) => readThenWrite(classifiedPool, begin, reads, decide),
    }),

    async execute(statement) {
      const connection = await connect(classifiedPool);
      try {
        return await run(connection, statement);
      } finally {
        connection.release();
      }
    },

    async transaction(work) {
      const connection = await connect(classifiedPool);
      const control = (text: string) => run(connection, { text, values: [] });
      const { transaction, end } = transactionHandle(mysql, (statement) => run(connection, statement));
      try {
        for (const { text } of begin) await neverCommitted(() => control(text));
        const result = await work(transaction).catch(async (error: unknown) => {
          end();
          // Where this fails the connection is not lent again, and the server rolls back with it.
          await control('ROLLBACK').catch(() => undefined);
          throw error;
        });
        end();
        await control('COMMIT');
        return result;
      } finally {
        connection.release();
      }
    },
  };
}

/** `mysql2` keeps the settings of a pool's connections beside its own. */
function takesSeveral({ config }: Mysql2Pool): boolean {
  const connection = (config as { connectionConfig?: { multipleStatements?: unknown } } | undefined)
    ?.connectionConfig;
  return connection?.multipleStatements === true;
}

const BEGIN: readonly SqlStatement[] = [
  { text: 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED', values: [] },
  { text: 'START TRANSACTION', values: [] },
];
const COMMIT: SqlStatement = { text: 'COMMIT', values: [] };

async function readThenWrite<T>(
  pool: Mysql2Pool,
  begin: readonly SqlStatement[],
  reads: readonly SqlStatement[],
  decide: (read: readonly SqlResult[]) => Decision<T> | InterimDecision<T>,
): Promise<T> {
  const connection = await connect(pool);
  const session = sessionOf.get(connection) as Mysql2Session;
  const { timezone = 'local' } = connection.config as { timezone?: string };
  const together = async (statements: readonly SqlStatement[]) => {
    const texts = statements.map((statement) => withLiterals(statement, timezone));
    const results = await session.runTogether(texts);
    return (texts.length === 1 ? [results] : results).map(normalise);
  };
  let begun = false;
  /** With the first statements: the server goes no further than the first that fails. */
  const begunWith = async (statements: readonly SqlStatement[]) => {
    if (statements.length === 0) return [];
    const before = begun ? [] : begin;
    begun = true;
    const results = await neverCommitted(() => together([...before, ...statements]));
    return results.slice(before.length);
  };
  const rollBack = async () => {
    if (!begun) return;
    const ends = [{ text: 'ROLLBACK', values: [] }, mysql.restoreLockWait].slice(
      0,
      limitsWait(reads) ? 2 : 1,
    );
    // Where this fails the connection is not lent again, and the server rolls back with it.
    for (const { text } of ends) await session.run('query', { sql: text }).catch(() => undefined);
  };
  try {
    let decision: Decision<T>;
    try {
      let decided = decide(await begunWith(reads));
      while ('next' in decided) {
        const { writes } = decided;
        decided = decided.next(await begunWith(writes));
      }
      decision = decided;
    } catch (error) {
      await rollBack();
      throw error;
    }
    if (decision.writes.length === 0) {
      await rollBack();
      return decision.result([]);
    }
    try {
      if (!begun && decision.writes.length === 1) return decision.result(await together(decision.writes));
      const before = begun ? [] : begin;
      begun = true;
      const written = await together([...before, ...decision.writes, COMMIT]);
      return decision.result(written.slice(before.length, -1));
    } catch (error) {
      await rollBack();
      throw error;
    }
  } finally {
    connection.release();
  }
}

function limitsWait(reads: readonly SqlStatement[]): boolean {
  return reads.some(({ text }) => text.startsWith(LIMIT_LOCK_WAIT));
}

/**
 * Sessions of a pool of `mysql2`, for `sqlLockStore`: each is one of its connections, until it is given back. Make the pool for
 * that alone, with a connection for each lock that this process may hold or wait for at once (`connectionLimit`).
 *
 * @param options  As for `mysql2Port`; `queryTimeoutMs` is for `setUp` alone, because a statement that waits for a lock may last.
 * @throws MisuseError  As `classifiedMysql2Pool`.
 */
export function mysql2Sessions(pool: Mysql2Pool, options: Mysql2Options): SqlSessions {
  const classifiedPool = classifiedMysql2Pool(pool, options);
  return {
    dialect: mysql,
    session: async () => ownSession(await connect(classifiedPool), options),
  };
}

function ownSession(connection: Mysql2Connection, { queryTimeoutMs }: Mysql2Options): SqlOwnSession {
  const session = sessionOf.get(connection) as Mysql2Session;
  session.limitAnswers(LONGEST_TIMER_MS);
  return {
    dialect: mysql,
    execute: (statement) => run(connection, statement),
    onLost: (told) => session.onLost(told),
    release() {
      session.onLost(undefined);
      session.limitAnswers(queryTimeoutMs);
      session.release();
    },
    cut: () => session.cut(),
  };
}

function connect(pool: Mysql2Pool): Promise<Mysql2Connection> {
  return new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)));
  });
}

async function run(connection: Mysql2Connection, { text, values }: SqlStatement): Promise<SqlResult> {
  const result = await new Promise<unknown>((resolve, reject) => {
    connection.query({ sql: text, values: [...values] }, (error, value) =>
      error ? reject(error) : resolve(value),
    );
  });
  return normalise(result);
}

function normalise(result: unknown): SqlResult {
  if (Array.isArray(result)) return { rows: result, affectedRows: result.length };
  return { rows: [], affectedRows: (result as { affectedRows: number }).affectedRows };
}

function classified(connection: Mysql2Connection, session: Mysql2Session): Mysql2Connection {
  const statement =
    (command: 'query' | 'execute') =>
    (given: string | Mysql2Query, ...rest: unknown[]) => {
      const answer = rest.at(-1);
      if (typeof answer !== 'function') return session.stream(command, given, ...rest);
      const [values] = rest.length > 1 ? (rest as [SqlValue[]]) : [];
      const whole = { ...(typeof given === 'string' ? { sql: given } : given), ...(values && { values }) };
      // Values are never sent as text: a quote in them would be escaped by a backslash, which a session with
      // NO_BACKSLASH_ESCAPES takes literally.
      session.run(whole.values?.length ? 'execute' : command, whole).then(
        (result) => answer(null, result),
        (error: unknown) => answer(error),
      );
      return undefined;
    };
  const members: Record<PropertyKey, unknown> = {
    query: statement('query'),
    execute: statement('execute'),
    release: () => session.release(),
  };
  return new Proxy(connection, {
    get: (target, name) => members[name] ?? boundMember(target, name),
  });
}

function boundMember(target: object, name: PropertyKey): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? value.bind(target) : value;
}

function unavailable(cause: unknown): StoreError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new StoreError('UNAVAILABLE', 'none', message, { cause });
}

/** A statement outside a transaction would otherwise wait for a COMMIT that nobody sends. */
const COMMITS_BY_ITSELF = 'SET SESSION autocommit = 1, SESSION completion_type = 0';

const CLIENT_FOUND_ROWS = 2;

function refuseUnfit(pool: Mysql2Pool, { config }: Mysql2Connection): void {
  const flags = 'clientFlags' in config ? Number(config.clientFlags) : 0;
  if ((flags & CLIENT_FOUND_ROWS) === 0) {
    throw new MisuseError('the pool must count found rows: leave FOUND_ROWS in its flags');
  }
  if (pool.config !== undefined && 'resetOnRelease' in pool.config && pool.config.resetOnRelease) {
    throw new MisuseError('the pool must not reset its connections: leave resetOnRelease off');
  }
}
