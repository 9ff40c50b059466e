import { databaseKind, isStore } from '../cluster/store.ts';
import { LockViewError } from './errors.ts';
import type { LockView } from './lock-wait.ts';
import { openMysqlLockView } from './mysql.ts';
import { openPostgresLockView } from './postgres.ts';

/** Whether locks can be seen there: a database is named by a URL, and not by `postgres` for a server to be started. */
export function isDatabaseUrl(text: string): boolean {
  return isStore(text) && text.includes('://');
}

/**
 * Opens a view of the locks in the database that a `postgres://` or `mysql://` URL names, on a connection of its own.
 * It only reads the server's own tables, and every statement has a limit.
 *
 * @throws LockViewError  BAD_URL, UNREACHABLE, NOT_ALLOWED or UNSUPPORTED_SERVER; no connection is left.
 */
export async function openLockView(databaseUrl: string): Promise<LockView> {
  if (!isDatabaseUrl(databaseUrl)) {
    throw new LockViewError('BAD_URL', 'locks are seen at a postgres:// or mysql:// URL');
  }
  const open = databaseKind(databaseUrl) === 'postgres' ? openPostgresLockView : openMysqlLockView;
  return open(databaseUrl);
}
