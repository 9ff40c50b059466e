import type { Socket } from 'node:net';
import { createConnection } from 'mysql2';
import pg from 'pg';
import { databaseKind } from './store.ts';

/** One row. Integers of 64 bits are text, columns of bytes are a Buffer. */
export type Row = Readonly<Record<string, unknown>>;

/** Runs one statement. @throws the driver's error, also when the answer takes too long. */
export type Query = (statement: string) => Promise<readonly Row[]>;

/**
 * Connects to a database, runs `work`, and closes the connection whatever happens.
 *
 * @param limitMs  For connecting and for each statement, in milliseconds. A server that takes the connection and then
 *   falls silent must hold up nobody; it may carry out the statement all the same.
 * @throws the driver's error when there is no connection; nothing ran.
 */
export function withDatabase<T>(
  databaseUrl: string,
  limitMs: number,
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const withConnection = databaseKind(databaseUrl) === 'postgres' ? withPostgres : withMysql;
  return withConnection(databaseUrl, limitMs, work);
}

async function withPostgres<T>(url: string, limitMs: number, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: limitMs,
    query_timeout: limitMs,
  });
  // A connection that breaks is told by the statement in flight or by the next one, not by a crash.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(async (statement) => (await client.query<Row>(statement)).rows);
  } finally {
    await client.end();
  }
}

async function withMysql<T>(url: string, limitMs: number, work: (query: Query) => Promise<T>): Promise<T> {
  const connection = createConnection({
    uri: url,
    connectTimeout: limitMs,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  connection.on('error', () => undefined); // As above.
  const session = connection.promise();
  try {
    await session.connect();
    const result = await work(async (statement) => {
      const [rows] = await session.query({ sql: statement, timeout: limitMs });
      return Array.isArray(rows) ? (rows as Row[]) : [];
    });
    await session.end();
    return result;
  } catch (error) {
    // Neither end() nor destroy() closes a connection on which an answer is still owed, and it would keep us alive.
    (connection as unknown as { stream: Socket }).stream.destroy();
    throw error;
  }
}
