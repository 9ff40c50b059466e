import { StoreError } from '../errors.ts';
import type { SessionLock, SessionLockStatements } from '../ports.ts';
import { NOW } from './sql.ts';

/** MariaDB takes no negative number for "without end". In seconds: a year. */
const LONG_S = 31_536_000;
const KEPT = 'CAST(COALESCE(@pawl_wait_timeout, @@SESSION.wait_timeout) AS UNSIGNED)';

/**
 * GET_LOCK, whose queue is the server's own, is served in order, and wakes who is next. It is the whole server's, whatever
 * the database.
 *
 * Two statements: a SELECT cannot set the session's `wait_timeout`, which is the lease (in whole seconds; ours round up),
 * and a SET tells nothing. SET computes all its values before it sets any of them, so nothing is set while it waits; the
 * lock comes last, so that nothing can fail after it. The clock is read by the second, because it is that of the
 * statement's beginning, and the first may have begun long ago.
 *
 * `max_statement_time` of MariaDB is lifted for the statement that waits; MySQL's `max_execution_time` limits only SELECT.
 */
export const take: SessionLockStatements['take'] = async (session, { wait, waitMs, leaseMs, ...lock }) => {
  const unlimited = wait ? '/*M! SET STATEMENT max_statement_time = 0 FOR */ ' : '';
  const set = [
    `@pawl_wait_timeout = ${KEPT}`,
    `SESSION wait_timeout = ${Math.ceil(leaseMs / 1_000)}`,
    `@pawl_granted = GET_LOCK(${nameOf(lock)}, ${wait ? seconds(waitMs) : 0})`,
  ];
  await session.execute({ text: `${unlimited}SET ${set.join(', ')}`, values: [] });
  const token = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${NOW}) + 1`;
  const { rows } = await session.execute({
    text: `SELECT @pawl_granted AS granted, ${token} AS token`,
    values: [],
  });
  const granted = rows[0]?.granted;
  // The server does not call it an error.
  if (granted == null) throw new StoreError('STATEMENT_CANCELED', 'none', 'GET_LOCK was killed');
  return Number(granted) === 1 ? Number(rows[0]?.token) : undefined;
};

export const renew: SessionLockStatements['renew'] = async (session, lock) => {
  const text = `SELECT IS_USED_LOCK(${nameOf(lock)}) = CONNECTION_ID() AS held`;
  const { rows } = await session.execute({ text, values: [] });
  return Number(rows[0]?.held) === 1;
};

export const release: SessionLockStatements['release'] = async (session, lock) => {
  const { rows } = await session.execute({
    text: `SELECT RELEASE_LOCK(${nameOf(lock)}) AS released`,
    values: [],
  });
  return Number(rows[0]?.released) === 1;
};

/** By itself, because a SET tells nothing: the answer of RELEASE_LOCK would be lost in it. */
export const restore: SessionLockStatements['restore'] = {
  text: `SET SESSION wait_timeout = ${KEPT}, @pawl_wait_timeout = NULL`,
  values: [],
};

/** MySQL knows whole seconds only, and takes what is in MariaDB's comment for a comment; so does MariaDB with MySQL's. */
function seconds(waitMs = 0): string {
  if (waitMs <= 0) return String(LONG_S);
  return `/*M! ${waitMs / 1_000} */ /*!50700 ${Math.ceil(waitMs / 1_000)} */`;
}

/** Names have at most 64 characters, and upper case and lower case are one: hence digits, 160 bits of them. */
function nameOf({ digest }: Pick<SessionLock, 'digest'>): string {
  return `'pawl:${Buffer.from(digest).toString('hex', 0, 20)}'`;
}
