import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ServerUrls } from '../../../servers.ts';

export type DatabaseName = 'postgres' | 'mariadb';

/** Connections of a process whose callers each have a transaction of their own. */
export const CONNECTIONS = 16;

/** A statement that is kept prepared in each session. */
export interface Statement {
  readonly name: string;
  /** With `?` for each value. */
  readonly text: string;
  /** With `$1`, `$2` and so on. */
  readonly numbered: string;
}

export interface Result {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly affected: number;
}

export interface Session {
  /** @throws the driver's error. */
  run(statement: Statement, values: readonly (string | number)[]): Promise<Result>;
}

/** What a transaction ends with. */
export interface Ended<T> {
  readonly commit: boolean;
  readonly value: T;
}

/** What somebody writes by hand over a pool of the driver, with its statements prepared. */
export interface Database extends Session {
  /** At READ COMMITTED. Rolled back where `work` throws. After a deadlock it runs again. @throws the driver's error. */
  transact<T>(work: (session: Session) => Promise<Ended<T>>): Promise<T>;
  close(): Promise<void>;
}

let named = 0;

export function statement(text: string): Statement {
  let count = 0;
  return { name: `bench_${named++}`, text, numbered: text.replaceAll('?', () => `$${++count}`) };
}

export function openDatabase(name: DatabaseName, urls: ServerUrls): Database {
  return name === 'postgres' ? openPostgres(urls.postgres) : openMariadb(urls.mariadb);
}

function openPostgres(url: string): Database {
  const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS });
  pool.on('error', () => undefined); // What failed is told by the statement.
  const over = (client: pg.Pool | pg.PoolClient): Session => ({
    async run({ name, numbered }, values) {
      const { rows, rowCount } = await client.query({ name, text: numbered, values: [...values] });
      return { rows, affected: rowCount ?? 0 };
    },
  });
  return {
    ...over(pool),
    transact: (work) =>
      throughDeadlocks(async () => {
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          const { commit, value } = await work(over(client));
          await client.query(commit ? 'COMMIT' : 'ROLLBACK');
          return value;
        } catch (error) {
          await client.query('ROLLBACK');
          throw error;
        } finally {
          client.release();
        }
      }),
    close: () => pool.end(),
  };
}

function openMariadb(url: string): Database {
  const pool = mysql.createPool({ uri: url, connectionLimit: CONNECTIONS });
  // Before anything else that the new connection is asked.
  pool.on('connection', (connection) => {
    connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  });
  const over = (client: mysql.Pool | mysql.PoolConnection): Session => ({
    async run({ text }, values) {
      const [result] = await client.execute(text, [...values]);
      if (Array.isArray(result)) return { rows: result as Result['rows'], affected: result.length };
      return { rows: [], affected: result.affectedRows };
    },
  });
  return {
    ...over(pool),
    transact: (work) =>
      throughDeadlocks(async () => {
        const connection = await pool.getConnection();
        try {
          await connection.query('START TRANSACTION');
          const { commit, value } = await work(over(connection));
          await connection.query(commit ? 'COMMIT' : 'ROLLBACK');
          return value;
        } catch (error) {
          await connection.query('ROLLBACK');
          throw error;
        } finally {
          connection.release();
        }
      }),
    close: () => pool.end(),
  };
}

const MOST_ATTEMPTS = 100;

async function throughDeadlocks<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!DEADLOCKS.has(codeOf(error)) || attempt >= MOST_ATTEMPTS) throw error;
    }
  }
}

const DEADLOCKS = new Set<unknown>(['40P01', 'ER_LOCK_DEADLOCK']);
const DUPLICATES = new Set<unknown>(['23505', 'ER_DUP_ENTRY']);

export function isDuplicate(error: unknown): boolean {
  return DUPLICATES.has(codeOf(error));
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
