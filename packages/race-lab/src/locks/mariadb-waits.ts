import type { LockHolder, LockWait } from './lock-wait.ts';
import { holderOf, type Query, type Session, tableName } from './processlist.ts';

/**
 * The waits on MariaDB, from `information_schema`.
 *
 * InnoDB's own tables are a copy that is up to 0.1 s old (`mysql.ts` says what follows from that), while the
 * processlist is not: a transaction that waits there and whose session runs another statement here has gone on, and is
 * left out. InnoDB gives the start of a wait in whole seconds only, so a wait is taken to be as long as its statement.
 *
 * The mode is `X` whether the record, the gap before it or both are asked for: only `SHOW ENGINE INNODB STATUS` writes
 * "rec but not gap".
 *
 * Who holds a metadata lock only the plugin METADATA_LOCK_INFO tells. Without it whoever waited for one before the waiter
 * came, and every transaction that was open by then, may be in its way, and they are marked so.
 */
export async function mariadbWaits(query: Query): Promise<() => Promise<LockWait[]>> {
  const plugins = await query(
    `SELECT 1 FROM information_schema.PLUGINS
      WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' AND PLUGIN_STATUS = 'ACTIVE'`,
  );
  const holdersAreTold = plugins.length > 0;
  return async () => {
    const [transactions, locks, waits, sessions] = [
      await query<TransactionRow>(TRANSACTIONS),
      await query<LockRow>(LOCKS),
      await query<WaitRow>(WAITS),
      await query<SessionRow>(SESSIONS),
    ];
    const sessionById = new Map(sessions.map((session) => [session.id, session]));
    const others = sessions.filter(({ here, state }) => here === 1 && otherWaitPattern.test(state ?? ''));
    const granted =
      holdersAreTold && others.some(isMetadataWait) ? await query<GrantedRow>(METADATA_LOCKS) : [];
    return [
      ...rowWaits(transactions, locks, waits, sessionById),
      ...others.map((waiter) => otherWait(waiter, others, transactions, granted, sessionById)),
    ];
  };
}

/*
 * InnoDB's tables have no index: joined in SQL they took 1.5 s where 130 sessions queued for one row, and 12 ms one by
 * one. Read within 0.1 s they are of one moment.
 */

interface TransactionRow {
  transaction: string;
  session: number;
  wantedLock: string | null;
  statement: string | null;
  openSeconds: number;
}

const TRANSACTIONS = `
  SELECT CAST(trx_id AS CHAR) AS transaction, trx_mysql_thread_id AS session, trx_requested_lock_id AS wantedLock,
         trx_query AS statement, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS openSeconds
    FROM information_schema.INNODB_TRX`;

interface LockRow {
  lock: string;
  lockType: string;
  mode: string;
  lockTable: string;
  lockIndex: string | null;
  lockData: string | null;
}

const LOCKS = `
  SELECT lock_id AS \`lock\`, lock_type AS lockType, lock_mode AS mode, lock_table AS lockTable,
         lock_index AS lockIndex, lock_data AS lockData
    FROM information_schema.INNODB_LOCKS`;

interface WaitRow {
  waiter: string;
  holder: string;
}

/** Everybody who queues before a waiter is in its way too; only those who have their lock hold it. */
const WAITS = `
  SELECT CAST(requesting_trx_id AS CHAR) AS waiter, CAST(blocking_trx_id AS CHAR) AS holder
    FROM information_schema.INNODB_LOCK_WAITS
   WHERE blocking_lock_id NOT IN (
     SELECT trx_requested_lock_id FROM information_schema.INNODB_TRX WHERE trx_requested_lock_id IS NOT NULL)`;

interface SessionRow extends Session {
  id: number;
  state: string | null;
  timeMs: number;
  /** 1 in the database that is looked at. */
  here: number;
  schemaName: string | null;
}

const SESSIONS = `
  SELECT ID AS id, COMMAND AS command, INFO AS info, STATE AS state, TIME_MS + 0e0 AS timeMs,
         DATABASE() IS NULL OR DB <=> DATABASE() AS here, DATABASE() AS schemaName
    FROM information_schema.PROCESSLIST`;

/** As much of a statement as InnoDB keeps. */
const STATEMENT_LENGTH = 1000;

function rowWaits(
  transactions: readonly TransactionRow[],
  locks: readonly LockRow[],
  waits: readonly WaitRow[],
  sessions: ReadonlyMap<number, SessionRow>,
): LockWait[] {
  const lockById = new Map(locks.map((lock) => [lock.lock, lock]));
  const transactionById = new Map(transactions.map((one) => [one.transaction, one]));
  const holdersOf = Map.groupBy(waits, ({ waiter }) => waiter);
  return transactions.flatMap(({ transaction, session, wantedLock, statement }) => {
    const wanted = lockById.get(wantedLock ?? '');
    const waiter = sessions.get(session);
    const wentOn = waiter?.info?.slice(0, STATEMENT_LENGTH) !== statement?.slice(0, STATEMENT_LENGTH);
    if (wanted === undefined || waiter?.here !== 1 || wentOn) return [];
    const wait: LockWait = {
      kind: wanted.lockType === 'RECORD' ? 'row' : 'table',
      waiter: waiterOf(waiter),
      holders: (holdersOf.get(transaction) ?? []).map(({ holder }) =>
        holderOf(sessions.get(transactionById.get(holder)?.session ?? 0), holder),
      ),
      table: tableName(wanted.lockTable, waiter.schemaName),
      index: wanted.lockIndex ?? undefined,
      record: wanted.lockData ?? undefined,
      mode: wanted.mode,
      lockType: wanted.lockType,
      waitedMs: waiter.timeMs,
    };
    return [wait];
  });
}

function waiterOf({ id, info, timeMs }: SessionRow): LockWait['waiter'] {
  return {
    session: String(id),
    application: undefined,
    statement: info ?? undefined,
    statementMs: timeMs,
  };
}

/** Locks of the server above InnoDB are seen by what the processlist says that a session does. */
const otherWaitPattern = /^(Waiting for (.+ metadata|table level) lock|User lock)$/;

function isMetadataWait({ state }: SessionRow): boolean {
  return state?.endsWith('metadata lock') ?? false;
}

interface GrantedRow {
  owner: number;
  tableSchema: string;
  tableName: string;
}

const METADATA_LOCKS = `
  SELECT THREAD_ID AS owner, TABLE_SCHEMA AS tableSchema, TABLE_NAME AS tableName
    FROM information_schema.METADATA_LOCK_INFO WHERE LOCK_TYPE = 'Table metadata lock'`;

function otherWait(
  waiter: SessionRow,
  waiting: readonly SessionRow[],
  transactions: readonly TransactionRow[],
  granted: readonly GrantedRow[],
  sessions: ReadonlyMap<number, SessionRow>,
): LockWait {
  const metadata = isMetadataWait(waiter);
  // The plugin lists what is granted: of one who waits to change a table, the weaker lock that it took first.
  const own = metadata ? granted.find(({ owner }) => owner === waiter.id) : undefined;
  const holders = () => {
    if (!metadata) return [];
    if (own === undefined) return suspectsOf(waiter, waiting, transactions, sessions);
    return granted
      .filter(({ owner, ...lock }) => owner !== own.owner && isSameTable(lock, own))
      .map(({ owner }) => holderOf(sessions.get(owner), 'of a session that has ended'));
  };
  return {
    kind: metadata ? 'metadata' : waiter.state === 'User lock' ? 'advisory' : 'table',
    waiter: waiterOf(waiter),
    holders: holders(),
    table: own && tableName(`${own.tableSchema}.${own.tableName}`, waiter.schemaName),
    index: undefined,
    record: undefined,
    mode: undefined,
    lockType: (waiter.state ?? '').replace('Waiting for ', ''),
    waitedMs: waiter.timeMs,
  };
}

function isSameTable(a: Omit<GrantedRow, 'owner'>, b: GrantedRow): boolean {
  return a.tableSchema === b.tableSchema && a.tableName === b.tableName;
}

/**
 * Who was there when the waiter came. First those who waited for a metadata lock themselves, because whoever only reads
 * queues behind them; then those with an open transaction, by the seconds that InnoDB keeps.
 */
function suspectsOf(
  waiter: SessionRow,
  waiting: readonly SessionRow[],
  transactions: readonly TransactionRow[],
  sessions: ReadonlyMap<number, SessionRow>,
): LockHolder[] {
  const ahead = waiting.filter((other) => isMetadataWait(other) && other.timeMs > waiter.timeMs);
  const queued = new Set(ahead.map(({ id }) => id));
  const open = transactions.flatMap(({ transaction, session, openSeconds }) => {
    const suspect = sessions.get(session);
    const came = openSeconds >= Math.floor(waiter.timeMs / 1000);
    return suspect?.here === 1 && session !== waiter.id && came && !queued.has(session)
      ? [holderOf(suspect, transaction, false)]
      : [];
  });
  return [...ahead.map((other) => holderOf(other, '', false)), ...open];
}
