import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { ClusterSetupError } from './errors.ts';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { ownMain } from './own-main.ts';

const CONNECT_LIMIT_MS = 10_000;

/** A schema of its own on a server that the lab was given. */
export interface ThrowAwaySchema {
  name: string;
  /** The given URL, with the schema as search path. */
  url: string;
}

/**
 * Creates a schema that the guardian drops when the lab ends, also when it is killed.
 *
 * @throws ClusterSetupError  DATABASE_UNREACHABLE: no connection, or no right to create a schema. Nothing is left.
 */
export async function createThrowAwaySchema(
  guardian: Guardian,
  databaseUrl: string,
): Promise<ThrowAwaySchema> {
  const name = `race_lab_${randomBytes(6).toString('hex')}`;
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    // A database that takes the connection and then falls silent must not hold up a start for ever.
    query_timeout: CONNECT_LIMIT_MS,
  });
  client.on('error', () => undefined); // The statement in flight rejects, and says the same.
  try {
    await client.connect();
    // Registered first: a lab that is killed between the two leaves nothing.
    await guardian.atEnd({
      name: `dropping schema ${name}`,
      command: process.execPath,
      args: [ownMain('drop-schema-main')],
      env: { ...hostEnv(), DATABASE_URL: databaseUrl, SCHEMA: name },
      cwd: '/',
    });
    await client.query(`CREATE SCHEMA ${name}`);
  } catch (cause) {
    const { host, pathname } = new URL(databaseUrl);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ClusterSetupError(
      'DATABASE_UNREACHABLE',
      `cannot use postgres://${host}${pathname}: ${reason}`,
      {
        cause,
      },
    );
  } finally {
    await client.end();
  }
  return { name, url: withSearchPath(databaseUrl, name) };
}

/** Every connection made with the result sees `schema` and nothing else; other options are kept. */
export function withSearchPath(databaseUrl: string, schema: string): string {
  const url = new URL(databaseUrl);
  const options = [url.searchParams.get('options'), `-c search_path=${schema}`].filter(Boolean).join(' ');
  url.searchParams.set('options', options);
  // libpq takes "+" literally, every client understands "%20".
  url.search = url.search.replaceAll('+', '%20');
  return url.href;
}
