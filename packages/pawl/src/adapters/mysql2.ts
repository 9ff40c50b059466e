import { MisuseError, StoreError } from '../errors.ts';
import { mysql } from '../mysql/index.ts';
import type { SqlPort, SqlResult, SqlStatement, SqlTransaction, SqlValue } from '../ports.ts';
import { MysqlTransaction } from './mysql-transaction.ts';
import { neverCommitted } from './never-committed.ts';

type Answer = (error: unknown, result?: unknown) => void;

interface Mysql2Query {
  readonly sql: string;
  readonly values?: SqlValue[];
  readonly timeout?: number;
}

/** What this adapter needs of a pooled connection of `mysql2` (not of `mysql2/promise`). */
export interface Mysql2Connection {
  query(statement: Mysql2Query, answer: Answer): unknown;
  execute(statement: Mysql2Query, answer: Answer): unknown;
  release(): void;
  destroy(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  readonly config: object;
  readonly stream?: { destroy(): unknown };
}

/** What this adapter needs of a pool of `mysql2` (not of `mysql2/promise`: its `pool.pool` is one). */
export interface Mysql2Pool {
  getConnection(answer: (error: unknown, connection: Mysql2Connection) => void): void;
}

/** `mysql2` has no such limits of its own, and would wait for ever. */
export interface Mysql2Options {
  /** How long to wait for a connection of the pool, in milliseconds. Then `UNAVAILABLE`; nothing was sent. */
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
 * @throws MisuseError  On the first connection: the pool does not count found rows (`flags: ['-FOUND_ROWS']`), so that
 *   an update which finds its row as it should be would look like one that lost.
 */
export function classifiedMysql2Pool<Pool extends Mysql2Pool>(pool: Pool, options: Mysql2Options): Pool {
  const known = new WeakMap<Mysql2Connection, Mysql2Connection>();

  /** One wrapper for each connection: callers keep what they know of a connection by its identity. */
  async function wrap(connection: Mysql2Connection): Promise<Mysql2Connection> {
    const wrapped = known.get(connection);
    if (wrapped !== undefined) return wrapped;
    try {
      requireFoundRows(connection);
      const fresh = classified(connection, options);
      for (const text of options.setUp ?? []) await run(fresh, { text, values: [] });
      known.set(connection, fresh);
      return fresh;
    } catch (error) {
      cut(connection);
      throw error instanceof MisuseError ? error : unavailable(error);
    }
  }

  const getConnection: Mysql2Pool['getConnection'] = (answer) => {
    acquire(pool, options.acquireTimeoutMs)
      .then(wrap)
      .then(
        (connection) => answer(null, connection),
        (error: unknown) => answer(error, undefined as never),
      );
  };
  return new Proxy(pool, {
    get(target, name) {
      if (name === 'getConnection') return getConnection;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The SQL port over a pool of `mysql2`. Statements with values are prepared, so that values never become text. */
export function mysql2Port(pool: Mysql2Pool, options: Mysql2Options): SqlPort {
  const classifiedPool = classifiedMysql2Pool(pool, options);
  const connect = () =>
    new Promise<Mysql2Connection>((resolve, reject) => {
      classifiedPool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)));
    });

  return {
    dialect: mysql,

    async execute(statement) {
      const connection = await connect();
      try {
        return await run(connection, statement);
      } finally {
        connection.release();
      }
    },

    async transaction(work) {
      const connection = await connect();
      const control = (text: string) => run(connection, { text, values: [] });
      try {
        const transaction: SqlTransaction = {
          dialect: mysql,
          inTransaction: true,
          execute: (statement) => neverCommitted(() => run(connection, statement)),
        };
        await neverCommitted(() => control('SET TRANSACTION ISOLATION LEVEL READ COMMITTED'));
        await neverCommitted(() => control('START TRANSACTION'));
        const result = await work(transaction).catch(async (error: unknown) => {
          // Where this fails the connection is not lent again, and the server rolls back with it.
          await control('ROLLBACK').catch(() => undefined);
          throw error;
        });
        await control('COMMIT');
        return result;
      } finally {
        connection.release();
      }
    },
  };
}

async function run(connection: Mysql2Connection, { text, values }: SqlStatement): Promise<SqlResult> {
  const result = await new Promise<unknown>((resolve, reject) => {
    const answer: Answer = (error, value) => (error ? reject(error) : resolve(value));
    if (values.length === 0) connection.query({ sql: text }, answer);
    else connection.execute({ sql: text, values: [...values] }, answer);
  });
  if (Array.isArray(result)) return { rows: result, affectedRows: result.length };
  return { rows: [], affectedRows: (result as { affectedRows: number }).affectedRows };
}

function acquire(pool: Mysql2Pool, limitMs: number): Promise<Mysql2Connection> {
  return new Promise((resolve, reject) => {
    let tooLate = false;
    const limit = setTimeout(() => {
      tooLate = true;
      reject(unavailable(new Error(`no connection was free within ${limitMs} ms`)));
    }, limitMs);
    pool.getConnection((error, connection) => {
      clearTimeout(limit);
      if (error) reject(unavailable(error));
      else if (tooLate) connection.release();
      else resolve(connection);
    });
  });
}

function unavailable(cause: unknown): StoreError {
  return new StoreError('UNAVAILABLE', 'none', cause instanceof Error ? cause.message : String(cause), {
    cause,
  });
}

function classified(connection: Mysql2Connection, { queryTimeoutMs }: Mysql2Options): Mysql2Connection {
  // One that breaks between two statements of a transaction would end the process; its next statement fails all the
  // same. The pool listens for the first error only.
  connection.on('error', () => undefined);
  const transaction = new MysqlTransaction();
  let destroyed = false;

  /** With a time-out of its own: that of mysql2 watches neither a PREPARE nor what waits behind another statement. */
  const send = (command: 'query' | 'execute', statement: Mysql2Query) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const gaveUp = () =>
      reject(new StoreError('CONNECTION_LOST', 'unknown', `no answer within ${queryTimeoutMs} ms`));
    const limit = setTimeout(gaveUp, queryTimeoutMs);
    connection[command](statement, (error, result) => (error ? reject(error) : resolve(result)));
    return promise.finally(() => clearTimeout(limit));
  };

  async function watched(command: 'query' | 'execute', statement: Mysql2Query): Promise<unknown> {
    try {
      // Where this fails too, the connection is not lent again, and the server rolls back with it.
      if (transaction.mustRollBack(statement.sql))
        await send('query', { sql: 'ROLLBACK' }).catch(() => undefined);
      transaction.check(statement.sql);
      const result = await send(command, statement);
      transaction.succeeded(statement.sql);
      return result;
    } catch (error) {
      const failure = mysql.classifyError(error);
      transaction.failed(failure);
      if (failure.code === 'CONNECTION_LOST') {
        // At once: whatever is sent after a statement that was given up would wait behind it.
        destroyed = true;
        cut(connection);
      }
      throw failure;
    }
  }

  function release(): void {
    if (destroyed) return;
    if (transaction.leavesTraces) cut(connection);
    else connection.release();
  }

  return new Proxy(connection, {
    get(target, name) {
      if (name === 'release') return release;
      if (name === 'query' || name === 'execute') {
        return (statement: string | Mysql2Query, ...rest: unknown[]) => {
          const answer = rest.at(-1);
          // Without a callback it is a stream, whose errors are its reader's.
          if (typeof answer !== 'function') {
            return Reflect.apply(target[name] as (...args: unknown[]) => unknown, target, [
              statement,
              ...rest,
            ]);
          }
          const [values] = rest.length > 1 ? (rest as [SqlValue[]]) : [];
          const given = typeof statement === 'string' ? { sql: statement } : statement;
          const whole = values === undefined ? given : { ...given, values };
          // As text, a quote would be escaped by a backslash, which a session with NO_BACKSLASH_ESCAPES takes literally.
          watched(whole.values?.length ? 'execute' : name, whole).then(
            (result) => answer(null, result),
            (error: unknown) => answer(error),
          );
          return undefined;
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function cut(connection: Mysql2Connection): void {
  connection.destroy();
  // That only says goodbye, which a server that has fallen silent does not hear.
  connection.stream?.destroy();
}

const CLIENT_FOUND_ROWS = 2;

function requireFoundRows({ config }: Mysql2Connection): void {
  const flags = 'clientFlags' in config ? Number(config.clientFlags) : 0;
  if ((flags & CLIENT_FOUND_ROWS) === 0) {
    throw new MisuseError('the pool must count found rows: leave FOUND_ROWS in its flags');
  }
}
