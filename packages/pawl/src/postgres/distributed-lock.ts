import { StoreError } from '../errors.ts';
import type { SessionLock, SessionLockStatements } from '../ports.ts';
import { NOW } from './sql.ts';

/**
 * How often the server looks whether somebody who waits is still there, in milliseconds: whoever has cut his connection has
 * no session for longer.
 */
export const CHECK_CLIENT_MS = 1_000;

/**
 * Advisory locks of the session. A lock waits in the server's own queue, which is served in order and wakes who is next.
 *
 * A free lock is not had before somebody who waits. Whoever waits does so in one message of two statements: the first sets
 * the limits for the second, in place of those of the session's user, because the server reads `statement_timeout` when a
 * statement begins. They are local to the transaction that the message is. While it waits it has a snapshot, which keeps
 * VACUUM from removing what has died since.
 *
 * The lease is `idle_session_timeout`, since PostgreSQL 14; what it was is kept in a setting of our own. WHERE comes before
 * what is selected: nothing is set where the lock was not had, and the clock is read when it was.
 */
export const take: SessionLockStatements['take'] = async (
  session,
  { wait, waitMs = 0, leaseMs, ...lock },
) => {
  const id = idOf(lock);
  const set = [
    `set_config('pawl.idle_session_timeout', current_setting('idle_session_timeout'), false)`,
    `set_config('idle_session_timeout', '${Math.ceil(leaseMs)}', false)`,
    `set_config('pawl.session_lock', ${id}::text, false)`,
  ];
  const had = `SELECT (extract(epoch FROM ${NOW}) * 1000000)::bigint + 1 AS token, ${set.join(', ')} WHERE`;
  const ask = async (text: string) => (await session.execute({ text, values: [] })).rows[0];
  try {
    const row = await ask(
      wait
        ? `${limits(waitMs)}; ${had} pg_advisory_lock(${id}) IS NOT NULL`
        : `${had} pg_try_advisory_lock(${id})`,
    );
    return row && Number(row.token);
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LOCK_TIMEOUT') throw error;
    // It may have been granted in the moment in which the wait ended: a session keeps its lock whatever becomes of the statement.
    await ask('SELECT pg_advisory_unlock_all()');
    return undefined;
  }
};

/** Any statement would do for the lease. This one also notices that it comes to another session than the lock's: a pooler's. */
export const renew: SessionLockStatements['renew'] = async (session, lock) => {
  const text = `SELECT coalesce(current_setting('pawl.session_lock', true) = ${idOf(lock)}::text, false) AS held`;
  const { rows } = await session.execute({ text, values: [] });
  return rows[0]?.held === true;
};

export const release: SessionLockStatements['release'] = async (session, lock) => {
  const reset = [
    // A session that never had the lock has none to go back to.
    `set_config('idle_session_timeout', coalesce(current_setting('pawl.idle_session_timeout', true),
      current_setting('idle_session_timeout')), false)`,
    `set_config('pawl.session_lock', '', false)`,
  ];
  const text = `SELECT pg_advisory_unlock(${idOf(lock)}) AS released, ${reset.join(', ')}`;
  const { rows } = await session.execute({ text, values: [] });
  return rows[0]?.released === true;
};

/** What `release` does here. */
export const restore: SessionLockStatements['restore'] = undefined;

/** Settings that a server does not have are replaced by one of our own: the first came with PostgreSQL 17, the second needs another system than Windows. */
function limits(waitMs: number): string {
  const set = [
    `set_config('statement_timeout', '0', true)`,
    `set_config('lock_timeout', '${Math.ceil(waitMs)}', true)`,
    `set_config(CASE WHEN current_setting('transaction_timeout', true) IS NULL
      THEN 'pawl.absent' ELSE 'transaction_timeout' END, '0', true)`,
    `set_config(CASE current_setting('dynamic_shared_memory_type') WHEN 'windows'
      THEN 'pawl.absent' ELSE 'client_connection_check_interval' END, '${CHECK_CLIENT_MS}', true)`,
  ];
  return `SELECT ${set.join(', ')}`;
}

/** 64 bits, as a literal; two keys that share them share a lock, which lets nobody in who should not be. */
function idOf({ digest }: Pick<SessionLock, 'digest'>): string {
  return `'${Buffer.from(digest).readBigInt64BE()}'::bigint`;
}
