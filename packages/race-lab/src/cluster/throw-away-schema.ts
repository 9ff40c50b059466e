import { randomBytes } from 'node:crypto';
import { withoutCredentials } from '../report/store-name.ts';
import { type Query, withDatabase } from './database-session.ts';
import { ClusterSetupError } from './errors.ts';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { ownMain } from './own-main.ts';
import { type DatabaseKind, databaseKind } from './store.ts';

const CONNECT_LIMIT_MS = 10_000;

/** A schema of its own on a server that the lab was given: on MySQL and MariaDB that is a database. */
export interface ThrowAwaySchema {
  /** As users of the server call it: `schema race_lab_…` or `database race_lab_…`. */
  title: string;
  /** The given URL, but every connection made with it sees the schema and nothing else. */
  url: string;
}

interface Dialect {
  noun: string;
  create(name: string): string;
  drop(name: string): string;
  urlIn(databaseUrl: string, name: string): string;
}

const dialects: Record<DatabaseKind, Dialect> = {
  postgres: {
    noun: 'schema',
    create: (name) => `CREATE SCHEMA ${name}`,
    drop: (name) => `DROP SCHEMA ${name} CASCADE`,
    urlIn: withSearchPath,
  },
  mysql: {
    noun: 'database',
    // Whatever the server's default is: that of MariaDB is latin1 for long.
    create: (name) => `CREATE DATABASE ${name} CHARACTER SET utf8mb4`,
    drop: (name) => `DROP DATABASE ${name}`,
    urlIn: withDatabaseName,
  },
};

/**
 * Creates a schema that the guardian drops when the lab ends, also when it is killed.
 *
 * @throws ClusterSetupError  DATABASE_UNREACHABLE: no connection, or no right to create a schema. Nothing is left.
 */
export async function createThrowAwaySchema(
  guardian: Guardian,
  databaseUrl: string,
): Promise<ThrowAwaySchema> {
  const { noun, create, urlIn } = dialects[databaseKind(databaseUrl)];
  const name = `race_lab_${randomBytes(6).toString('hex')}`;
  const title = `${noun} ${name}`;
  try {
    await withDatabase(databaseUrl, CONNECT_LIMIT_MS, async (query) => {
      // Registered first: a lab that is killed between the two leaves nothing.
      await guardian.atEnd({
        name: `dropping ${title}`,
        command: process.execPath,
        args: [ownMain('drop-schema-main')],
        env: { ...hostEnv(), DATABASE_URL: databaseUrl, SCHEMA: name },
        cwd: '/',
      });
      await query(create(name));
    });
  } catch (cause) {
    throw new ClusterSetupError(
      'DATABASE_UNREACHABLE',
      `cannot use ${withoutCredentials(databaseUrl)}: ${reasonOf(cause)}`,
      { cause },
    );
  }
  return { title, url: urlIn(databaseUrl, name) };
}

/** Drops what `createThrowAwaySchema` made, if it is there. @throws the driver's error. */
export async function dropThrowAwaySchema(query: Query, kind: DatabaseKind, name: string): Promise<void> {
  // Not IF EXISTS: MySQL refuses even that to a user who may not make a database, and so could not make this one.
  const found = await query(`SELECT 1 FROM information_schema.schemata WHERE schema_name = '${name}'`);
  if (found.length > 0) await query(dialects[kind].drop(name));
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

/** Every connection made with the result is in `database`; parameters are kept. */
export function withDatabaseName(databaseUrl: string, database: string): string {
  const url = new URL(databaseUrl);
  // The spelling that every client understands.
  url.protocol = 'mysql:';
  url.pathname = `/${database}`;
  return url.href;
}

/** Node's error for a name with several addresses, none of which answers, has a code and no message. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? String((error as NodeJS.ErrnoException).code) : error.message;
}
