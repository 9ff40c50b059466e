import { Connection } from 'mysql2';
import { Temporal } from 'temporal-polyfill';
import { onTestFinished } from 'vitest';
import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import { newDatabase, type SqlStore } from '../../../../test/stores.ts';
import type { Ends } from '../harness.ts';

/** A database of its own whose clock stands still, and is moved by hand. The clock of the process stays as it is. */
export interface MovableClock {
  readonly databaseUrl: string;
  /**
   * Sets the clock for every statement that begins from now on, also in sessions that are open, and inside their
   * transactions. One that waits for a lock has begun.
   *
   * @param moment  With its offset from UTC, to the microsecond: `2026-03-08T03:30:00.000001-04:00`.
   */
  moveTo(moment: string): Promise<void>;
}

const LIMIT_MS = 10_000;

/**
 * Makes a database where it is `moment`, as in `moveTo`. On MariaDB only for sessions of `mysql2` in this process. Ends with the test,
 * unless `ends` says when.
 */
export function movableClock(
  store: SqlStore,
  moment: string,
  ends: Ends = onTestFinished,
): Promise<MovableClock> {
  return store === 'postgres' ? postgresClock(moment) : mariadbClock(store, moment, ends);
}

/** A function of its own hides `clock_timestamp()`: of two with the same arguments the first in the search path is called. */
async function postgresClock(first: string): Promise<MovableClock> {
  const databaseUrl = await newDatabase('postgres');
  const run = (statement: string) => withDatabase(databaseUrl, LIMIT_MS, (query) => query(statement));
  const moveTo = async (moment: string) => void (await run(`UPDATE moved.clock SET at = '${moment}'`));
  // VOLATILE, as it is by default, so that each call sees what has been committed by then.
  await run(`
    CREATE SCHEMA moved;
    CREATE TABLE moved.clock (at timestamptz);
    INSERT INTO moved.clock VALUES ('${first}');
    CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM moved.clock'`);
  const database = new URL(databaseUrl).pathname.slice(1);
  // Tables are made in the first; pg_catalog, unless it is named, is searched before all others.
  await run(`ALTER DATABASE ${database} SET search_path = public, moved, pg_catalog`);
  return { databaseUrl, moveTo };
}

/**
 * `SET timestamp` moves the clock of one session, and only that session can. So the driver of this process says it before
 * every statement. (`init_connect` would not do: who waits for a lock while the clock is moved would stay in the past.)
 */
async function mariadbClock(store: SqlStore, first: string, ends: Ends): Promise<MovableClock> {
  const databaseUrl = await newDatabase(store);
  const database = new URL(databaseUrl).pathname.slice(1);
  let now = unixSeconds(first);
  const untold = { query: Connection.prototype.query, execute: Connection.prototype.execute };
  const told = (command: 'query' | 'execute') =>
    function (this: Connection, ...args: unknown[]): unknown {
      if (this.config.database !== database) return Reflect.apply(untold[command], this, args);
      const run = (...statement: unknown[]) => {
        Reflect.apply(untold.query, this, [`SET timestamp = ${now}`, ignore]);
        return Reflect.apply(untold[command], this, statement);
      };
      const [statement, answer] = args as [{ sql?: string }, Answer];
      const texts = statement.sql?.split(';\n') ?? [];
      return texts.length > 1 ? oneByOne(texts, run, answer) : run(...args);
    };
  Object.assign(Connection.prototype, { query: told('query'), execute: told('execute') });
  ends(async () => void Object.assign(Connection.prototype, untold));
  const moveTo = async (moment: string) => {
    now = unixSeconds(moment);
  };
  return { databaseUrl, moveTo };
}

type Answer = (error: unknown, result?: unknown) => void;

/** Of several statements in a message each has its own moment, when the one before it has ended; and those after one that fails do not run. */
function oneByOne(texts: string[], run: (text: string, answer: Answer) => void, answer: Answer): void {
  const results: unknown[] = [];
  const runNext = () => {
    const text = texts[results.length];
    if (text === undefined) return answer(null, results);
    run(text, (error, result) => {
      if (error) return answer(error);
      results.push(result);
      runNext();
    });
  };
  runNext();
}

/** Where the time cannot be told, the statement after it cannot be sent either. */
const ignore = () => undefined;

/** With seven decimals: the server reads a floating-point number and cuts it off, half a microsecond later. */
function unixSeconds(moment: string): string {
  const us = Temporal.Instant.from(moment).epochNanoseconds / 1_000n;
  return `${us / 1_000_000n}.${String(us % 1_000_000n).padStart(6, '0')}5`;
}
