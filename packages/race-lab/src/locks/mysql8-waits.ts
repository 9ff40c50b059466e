import type { LockHolder, LockWait } from './lock-wait.ts';
import { holderOf, type Query, tableName } from './processlist.ts';

/**
 * The waits on MySQL 8, from `performance_schema`.
 *
 * Written from the reference manual (data_locks, data_lock_waits, metadata_locks, threads, events_statements_current)
 * and not run: there is no MySQL 8 where this is built.
 *
 * The modes say more than MariaDB's: `X,REC_NOT_GAP`, `X,GAP`. Metadata locks are seen with their holders, of which
 * some may not conflict: MySQL lists what is granted, not what is in the way.
 */
export async function mysql8Waits(query: Query): Promise<() => Promise<LockWait[]>> {
  return async () => {
    const rows = await query<WaitRow>(`${DATA_WAITS} UNION ALL ${METADATA_WAITS}`);
    const byWaiter = Map.groupBy(rows, ({ waiter, kind }) => `${kind} ${waiter}`);
    return [...byWaiter.values()].flatMap((inTheWay) => {
      const [first] = inTheWay;
      if (first === undefined) return [];
      const holding = inTheWay.filter(({ queues }) => queues === 0);
      return {
        kind: first.kind,
        waiter: {
          session: String(first.waiter),
          application: undefined,
          statement: first.info ?? undefined,
          statementMs: first.timeMs ?? 0,
        },
        holders: (holding.length > 0 ? holding : inTheWay).map(rowHolder),
        table: tableName(`${first.objectSchema}.${first.objectName}`, first.schemaName),
        index: first.indexName ?? undefined,
        record: first.lockData ?? undefined,
        mode: first.mode,
        lockType: first.lockType,
        waitedMs: first.timeMs ?? 0,
      } satisfies LockWait;
    });
  };
}

interface WaitRow {
  kind: 'row' | 'table' | 'metadata';
  waiter: number;
  info: string | null;
  timeMs: number | null;
  lockType: string;
  mode: string;
  objectSchema: string;
  objectName: string;
  indexName: string | null;
  lockData: string | null;
  schemaName: string | null;
  holderId: number | null;
  holderCommand: string | null;
  holderInfo: string | null;
  /** The lock in the way is itself only asked for. */
  queues: number;
}

function rowHolder({ holderId, holderCommand, holderInfo }: WaitRow): LockHolder {
  const session = holderId === null ? undefined : { id: holderId, command: holderCommand, info: holderInfo };
  return holderOf(session, 'that is prepared');
}

/** How long the waiter's statement has been running; the timers count picoseconds. */
const STATEMENT_MS = `
  (SELECT MAX(TIMER_WAIT) / 1e9 FROM performance_schema.events_statements_current AS running
    WHERE running.THREAD_ID = waiter.THREAD_ID AND running.END_EVENT_ID IS NULL)`;

const DATA_WAITS = `
  SELECT IF(wanted.LOCK_TYPE = 'RECORD', 'row', 'table') AS kind, waiter.PROCESSLIST_ID AS waiter,
         waiter.PROCESSLIST_INFO AS info, ${STATEMENT_MS} AS timeMs, wanted.LOCK_TYPE AS lockType, wanted.LOCK_MODE AS mode,
         wanted.OBJECT_SCHEMA AS objectSchema, wanted.OBJECT_NAME AS objectName, wanted.INDEX_NAME AS indexName,
         wanted.LOCK_DATA AS lockData, DATABASE() AS schemaName,
         holder.PROCESSLIST_ID AS holderId, holder.PROCESSLIST_COMMAND AS holderCommand,
         holder.PROCESSLIST_INFO AS holderInfo, blocking.LOCK_STATUS <> 'GRANTED' AS queues
    FROM performance_schema.data_lock_waits AS waits
    JOIN performance_schema.data_locks AS wanted
      ON wanted.ENGINE = waits.ENGINE AND wanted.ENGINE_LOCK_ID = waits.REQUESTING_ENGINE_LOCK_ID
    JOIN performance_schema.data_locks AS blocking
      ON blocking.ENGINE = waits.ENGINE AND blocking.ENGINE_LOCK_ID = waits.BLOCKING_ENGINE_LOCK_ID
    JOIN performance_schema.threads AS waiter ON waiter.THREAD_ID = waits.REQUESTING_THREAD_ID
    LEFT JOIN performance_schema.threads AS holder ON holder.THREAD_ID = waits.BLOCKING_THREAD_ID
   WHERE (DATABASE() IS NULL OR waiter.PROCESSLIST_DB = DATABASE())`;

const METADATA_WAITS = `
  SELECT 'metadata', waiter.PROCESSLIST_ID, waiter.PROCESSLIST_INFO, ${STATEMENT_MS}, wanted.OBJECT_TYPE,
         wanted.LOCK_TYPE, wanted.OBJECT_SCHEMA, wanted.OBJECT_NAME, NULL, NULL, DATABASE(),
         holder.PROCESSLIST_ID, holder.PROCESSLIST_COMMAND, holder.PROCESSLIST_INFO, 0
    FROM performance_schema.metadata_locks AS wanted
    JOIN performance_schema.metadata_locks AS granted
      ON granted.OBJECT_TYPE = wanted.OBJECT_TYPE AND granted.OBJECT_SCHEMA = wanted.OBJECT_SCHEMA
     AND granted.OBJECT_NAME = wanted.OBJECT_NAME AND granted.LOCK_STATUS = 'GRANTED'
     AND granted.OWNER_THREAD_ID <> wanted.OWNER_THREAD_ID
    JOIN performance_schema.threads AS waiter ON waiter.THREAD_ID = wanted.OWNER_THREAD_ID
    JOIN performance_schema.threads AS holder ON holder.THREAD_ID = granted.OWNER_THREAD_ID
   WHERE wanted.LOCK_STATUS = 'PENDING' AND wanted.OBJECT_TYPE = 'TABLE'
     AND (DATABASE() IS NULL OR waiter.PROCESSLIST_DB = DATABASE())`;
