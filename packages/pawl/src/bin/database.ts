import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError, type StoreErrorCode } from '../errors.ts';
import { mysql } from '../mysql/index.ts';
import type { SqlDialect, SqlPort } from '../ports.ts';
import { postgres } from '../postgres/index.ts';
import { CommandError } from './command-error.ts';
import { openMysql } from './open-mysql.ts';
import { openPostgres } from './open-postgres.ts';

/** A database as a command is given it. */
export interface Database {
  readonly dialect: SqlDialect;
  /** As its driver wants it, with the credentials. */
  readonly url: string;
  /** As it may be printed: without credentials and parameters. */
  readonly name: string;
}

const dialects: Readonly<Record<string, SqlDialect>> = {
  postgres,
  postgresql: postgres,
  mysql,
  mariadb: mysql,
};

/** What a database may be called, as the scheme of its URL and elsewhere. */
export const dialectNames: readonly string[] = Object.keys(dialects);

export function dialectNamed(name: string): SqlDialect | undefined {
  return Object.hasOwn(dialects, name) ? dialects[name] : undefined;
}

/** What was given, else what the environment names. An empty variable is one that is not set. */
export function databaseUrl(
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return given ?? (env.DATABASE_URL || undefined);
}

/** @throws CommandError  `BAD_ARGUMENTS`; the message does not repeat the text, which may hold a password. */
export function parseDatabase(text: string): Database {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const dialect = url && dialectNamed(url.protocol.slice(0, -1));
  if (url === undefined || dialect === undefined) {
    const schemes = dialectNames.map((name) => `${name}://`).join(', ');
    throw new CommandError(
      'BAD_ARGUMENTS',
      `the database must be a URL that begins with one of ${schemes}; special characters of its password are percent-encoded`,
    );
  }
  // A "/", "?" or "#" in the password ends the host, and the rest of the password would be printed as the database.
  if (/@/.test(url.pathname + url.search + url.hash)) {
    throw new CommandError(
      'BAD_ARGUMENTS',
      'the URL of the database has an "@" behind its host: write "/", "?", "#" and "@" percent-encoded where they are ' +
        'part of the user, the password or the database',
    );
  }
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  // The spelling that every client understands.
  url.protocol = dialect === mysql ? 'mysql:' : 'postgres:';
  return { dialect, url: url.href, name };
}

/** A polite goodbye, and no more: the process ends whatever the server makes of it. */
const CLOSE_LIMIT_MS = 2_000;

/**
 * Connects to a database, runs `work`, and closes the connection whatever happens.
 *
 * @throws CommandError  `FAILED`: no driver, no connection, or the database refused what it was asked. `UNKNOWN`: the
 *   connection was lost before the answer. Whatever else `work` throws is thrown on.
 */
export async function withDatabase<T>(
  { dialect, url, name }: Database,
  work: (sql: SqlPort) => Promise<T>,
): Promise<T> {
  const { sql, close } = await (dialect === mysql ? openMysql : openPostgres)(url);
  try {
    return await work(sql);
  } catch (error) {
    throw error instanceof StoreError ? explained(error, name) : error;
  } finally {
    await Promise.race([close().catch(() => undefined), sleep(CLOSE_LIMIT_MS)]);
  }
}

const TITLES: Partial<Record<StoreErrorCode, string>> = {
  UNAVAILABLE: 'cannot connect to',
  CONNECTION_LOST: 'lost the connection to',
};

function explained(error: StoreError, name: string): CommandError {
  const reason = reasonOf(error);
  if (error.effect === 'unknown') {
    return new CommandError(
      'UNKNOWN',
      `lost the connection to ${name}: ${reason}. What was done is not known; the same command may be run again`,
      { cause: error },
    );
  }
  return new CommandError('FAILED', `${TITLES[error.code] ?? 'refused by'} ${name}: ${reason}`, {
    cause: error,
  });
}

/** Node's error for a host with several addresses, none of which answers, has a code and no message. */
function reasonOf(error: Error): string {
  if (error.message !== '') return error.message;
  const { cause } = error;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : error.name;
}
