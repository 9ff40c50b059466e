import type { Row, SqlDialect } from '../ports.ts';

type Kind = SqlDialect['name'];

/** The statement that tells the id of its session. */
export const SESSION_ID = {
  postgres: 'SELECT pg_backend_pid() AS id',
  mysql: 'SELECT CONNECTION_ID() AS id',
};

/** Ends the session with this id, which its user may do to himself. */
export function killStatement(kind: Kind, id: number): string {
  return kind === 'postgres' ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`;
}

/** A text in which `?` marks each value, as the database wants it. */
export function placeholders(kind: Kind, text: string): string {
  if (kind === 'mysql') return text;
  let count = 0;
  return text.replaceAll('?', () => `$${++count}`);
}

/** The statement that tells how many sessions of this database wait for a lock that is a session's own. */
export const SESSIONS_WAITING = {
  postgres: `SELECT COUNT(*) AS n FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`,
  mysql: `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'`,
};

/** The statement that tells how many locks sessions of this database have; MySQL and MariaDB show them to nobody. */
export const SESSION_LOCKS = {
  postgres: `SELECT COUNT(*) AS n FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()`,
  mysql: undefined,
};

/**
 * How many sessions of this database wait for a row lock now. On MySQL and MariaDB it needs the right PROCESS.
 */
export async function waitingForLocks(
  kind: Kind,
  query: (text: string) => Promise<{ readonly rows: readonly Row[] }>,
): Promise<number> {
  if (kind === 'postgres') {
    const { rows } = await query(
      `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    );
    return rows.length;
  }
  const here = await query('SELECT id FROM information_schema.processlist WHERE db = DATABASE()');
  const ids = new Set(here.rows.map(({ id }) => Number(id)));
  // The tables of information_schema that show waits are a copy, which is not renewed while it is being asked.
  const { rows } = await query('SHOW ENGINE INNODB STATUS');
  const status = String(rows[0]?.Status);
  const transactions = status.slice(status.indexOf('LIST OF TRANSACTIONS')).split('---TRANSACTION');
  const waiting = transactions.filter((transaction) => transaction.includes('LOCK WAIT'));
  return waiting.filter((transaction) => ids.has(Number(/thread id (\d+)/.exec(transaction)?.[1]))).length;
}
