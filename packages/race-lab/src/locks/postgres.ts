import pg from 'pg';
import { ANSWER_LIMIT_MS, cannotConnect, LockViewError, reasonOf, STATEMENT_LIMIT_MS } from './errors.ts';
import type { LockHolder, LockView, LockWait } from './lock-wait.ts';

/** With it came `pg_locks.waitstart`. */
const OLDEST_VERSION = 140_000;

/** SQLSTATE of a statement that the server ended at its limit. */
const QUERY_CANCELED = '57014';
/** The server ends, or ends this connection. */
const LOST_CODES = ['57P01', '57P02', '57P03', '57P05'];

/**
 * Opens a view of the locks of one PostgreSQL database, 14 or newer.
 *
 * PostgreSQL locks row versions, not index records. A statement that finds a row locked queues at the row version
 * (`tuple`, with its page and line), and the first in the queue waits for the other transaction to end
 * (`transactionid`) while it holds its place. So the row of a waiter is the tuple for which it waits or whose place it
 * holds; and there is no index to name, whichever the statement has found the row by. A statement that waits because
 * of a unique key has no tuple: then the table is named only if it is the only one that its transaction writes.
 *
 * Without the right `pg_read_all_stats`, PostgreSQL shows the statements of other users as `<insufficient privilege>`.
 *
 * @throws LockViewError  UNREACHABLE or UNSUPPORTED_SERVER
 */
export async function openPostgresLockView(databaseUrl: string): Promise<LockView> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'race-lab locks',
    connectionTimeoutMillis: ANSWER_LIMIT_MS,
    statement_timeout: STATEMENT_LIMIT_MS,
    query_timeout: ANSWER_LIMIT_MS,
  });
  // The statement in flight, or the next one, says the same.
  client.on('error', () => undefined);
  const close = () => client.end().catch(() => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ number: string; name: string }>(
      `SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name`,
    );
    const [version] = rows;
    if (!(Number(version?.number) >= OLDEST_VERSION)) {
      const message = `PostgreSQL ${version?.name} does not say how long a lock is waited for; 14 or newer does`;
      throw new LockViewError('UNSUPPORTED_SERVER', message);
    }
  } catch (error) {
    await close();
    if (error instanceof LockViewError) throw error;
    cannotConnect(databaseUrl, error);
  }
  return {
    product: 'PostgreSQL',
    async sample() {
      try {
        const { rows } = await client.query<WaitRow>(WAITS);
        return holdersBehindQueues(rows.map(lockWait));
      } catch (error) {
        const told = explained(error);
        // Fallen silent: its answer may come later, in place of the next one's.
        if (told.code === 'LOST') await close();
        throw told;
      }
    },
    counters: async () => null,
    close,
  };
}

interface WaitRow {
  pid: number;
  application: string;
  statement: string;
  statementMs: number;
  waitedMs: number;
  lockType: string;
  mode: string;
  table: string | null;
  record: string | null;
  holders: { pid: number; application: string; statement: string; state: string }[];
  /** Of transactions that were prepared and are in no session. */
  prepared: boolean;
}

/**
 * `pg_locks` and `pg_stat_activity` are functions that look again whenever they are read, so each is read once, the locks
 * first (a condition without a column is decided before the scan that it guards); a session that the second no longer
 * shows waiting has gone on since the first. `pg_stat_activity` itself copies statements and states first and looks for
 * what each session waits for afterwards: a session that began to wait between the two is shown waiting with the statement
 * before (`BEGIN`, idle in transaction). What it waits with has begun before its wait, and is still running.
 * `pg_blocking_pids` stops the lock table for a moment: it is asked for those who wait, and for nobody else.
 */
const WAITS = `
  WITH locks AS MATERIALIZED (SELECT * FROM pg_locks),
  sessions AS MATERIALIZED (
    SELECT pid, application_name, state, query, query_start, wait_event_type
      FROM pg_stat_activity WHERE datname = current_database() AND (SELECT count(*) FROM locks) >= 0),
  waits AS MATERIALIZED (
    SELECT locks.*, pg_blocking_pids(locks.pid) AS blocking
      FROM locks JOIN sessions USING (pid) WHERE NOT granted)
  SELECT waits.pid,
         session.application_name AS application,
         session.query AS statement,
         (extract(epoch FROM clock_timestamp() - session.query_start) * 1000)::float8 AS "statementMs",
         -- For a moment after the wait has begun, waitstart is not set.
         (extract(epoch FROM clock_timestamp() - coalesce(waits.waitstart, clock_timestamp())) * 1000)::float8
           AS "waitedMs",
         waits.locktype AS "lockType",
         coalesce(place.mode, waits.mode) AS mode,
         coalesce(waits.relation, place.relation, only_written.relation)::regclass::text AS "table",
         CASE
           WHEN waits.locktype = 'advisory' THEN format('%s,%s', waits.classid, waits.objid)
           WHEN waits.tuple IS NOT NULL THEN format('(%s,%s)', waits.page, waits.tuple)
           WHEN place.tuple IS NOT NULL THEN format('(%s,%s)', place.page, place.tuple)
         END AS record,
         0 = ANY (waits.blocking) AS prepared,
         coalesce((
           SELECT json_agg(json_build_object('pid', holder.pid, 'application', holder.application_name,
                                             'statement', holder.query, 'state', holder.state))
             FROM sessions AS holder WHERE holder.pid = ANY (waits.blocking)), '[]') AS holders
    FROM waits
    JOIN sessions AS session ON session.pid = waits.pid AND session.wait_event_type = 'Lock'
     AND session.state IN ('active', 'fastpath function call')
     AND session.query_start <= coalesce(waits.waitstart, session.query_start)
    -- Its place at the head of the queue for a row.
    LEFT JOIN LATERAL (
      SELECT * FROM locks
       WHERE locks.pid = waits.pid AND granted AND locktype = 'tuple' AND waits.locktype = 'transactionid'
       LIMIT 1) AS place ON true
    LEFT JOIN LATERAL (
      SELECT min(locks.relation) AS relation
        FROM locks JOIN pg_class ON pg_class.oid = locks.relation AND relkind IN ('r', 'p')
       WHERE locks.pid = waits.pid AND granted AND mode = 'RowExclusiveLock' AND waits.locktype = 'transactionid'
      HAVING count(*) = 1) AS only_written ON true
   ORDER BY waits.waitstart`;

function lockWait(row: WaitRow): LockWait {
  const holders = row.holders.map(lockHolder);
  return {
    kind: kinds[row.lockType] ?? 'other',
    waiter: {
      session: String(row.pid),
      application: row.application === '' ? undefined : row.application,
      statement: row.statement,
      statementMs: row.statementMs,
    },
    holders: row.prepared ? [...holders, preparedTransaction] : holders,
    table: row.table ?? undefined,
    index: undefined,
    record: row.record ?? undefined,
    mode: row.mode,
    lockType: row.lockType,
    waitedMs: row.waitedMs,
  };
}

/**
 * PostgreSQL names those who queue for a row before a waiter as being in its way, like the one who has locked it. Whoever
 * queues for the same row is left out in favour of those for whom he waits himself.
 */
function holdersBehindQueues(waits: readonly LockWait[]): LockWait[] {
  const bySession = new Map(waits.map((wait) => [wait.waiter.session, wait]));
  const holdersOf = (wait: LockWait, seen: Set<string>): LockHolder[] =>
    wait.holders.flatMap((holder) => {
      if (seen.has(holder.session)) return [];
      seen.add(holder.session);
      const queued = bySession.get(holder.session);
      return queued !== undefined && isSameRow(queued, wait) ? holdersOf(queued, seen) : [holder];
    });
  return waits.map((wait) => {
    const holders = holdersOf(wait, new Set());
    return holders.length === 0 ? wait : { ...wait, holders };
  });
}

function isSameRow(a: LockWait, b: LockWait): boolean {
  return a.record !== undefined && a.record === b.record && a.table === b.table && a.kind === b.kind;
}

const kinds: Readonly<Record<string, LockWait['kind']>> = {
  tuple: 'row',
  transactionid: 'row',
  spectoken: 'row',
  relation: 'table',
  advisory: 'advisory',
};

function lockHolder({ pid, application, statement, state }: WaitRow['holders'][number]): LockHolder {
  const active = state === 'active' || state === 'fastpath function call';
  return {
    session: String(pid),
    application: application === '' ? undefined : application,
    statement: active ? statement : undefined,
    lastStatement: active ? undefined : statement,
    idleInTransaction: state === 'idle in transaction' || state === 'idle in transaction (aborted)',
    certain: true,
  };
}

const preparedTransaction: LockHolder = {
  session: 'a prepared transaction',
  application: undefined,
  statement: undefined,
  lastStatement: undefined,
  idleInTransaction: true,
  certain: true,
};

function explained(cause: unknown): LockViewError {
  const code = cause instanceof pg.DatabaseError ? cause.code : undefined;
  if (code === QUERY_CANCELED) {
    const message = `PostgreSQL took longer than ${STATEMENT_LIMIT_MS} ms to show its locks`;
    return new LockViewError('SLOW', message, { cause });
  }
  // What is not the server's own error is the connection's.
  if (code === undefined || LOST_CODES.includes(code)) {
    return new LockViewError('LOST', `the connection that watches the locks was lost: ${reasonOf(cause)}`, {
      cause,
    });
  }
  return new LockViewError('FAILED', `PostgreSQL does not show its locks: ${reasonOf(cause)}`, { cause });
}
