import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { ANSWER_LIMIT_MS, cannotConnect, LockViewError, reasonOf, STATEMENT_LIMIT_MS } from './errors.ts';
import type { LockView, RowLockCounters } from './lock-wait.ts';
import { mariadbWaits } from './mariadb-waits.ts';
import { mysql8Waits } from './mysql8-waits.ts';
import type { Query } from './processlist.ts';

/**
 * InnoDB shows its locks from a copy, and renews that only for a reader who comes more than 0.1 s after the last one,
 * whoever that was. Two who look every 0.1 s keep each other from ever seeing anything new; so does one who looks
 * every 60 ms, which was tried. A pause of changing length lets everybody see something.
 */
const SHORTEST_PAUSE_MS = 110;
const LONGEST_PAUSE_MS = 200;

/** Error numbers, which MariaDB and MySQL share where they have them. */
const NOT_ALLOWED = [1227, 1142, 1044, 1045];
/** MariaDB's `max_statement_time`, MySQL's `max_execution_time`. */
const TOO_SLOW = [1969, 3024];
/** The server ends, or ended this connection. */
const LOST_NUMBERS = [1053, 1927, 4031];

/** What was chosen by asking the server what it is. */
interface Product {
  readonly product: 'MariaDB' | 'MySQL';
  readonly limitStatements: string;
  readonly waits: (query: Query) => Promise<() => ReturnType<LockView['sample']>>;
}

const mariadb: Product = {
  product: 'MariaDB',
  limitStatements: `SET SESSION max_statement_time = ${STATEMENT_LIMIT_MS / 1000}`,
  waits: mariadbWaits,
};

const mysql8: Product = {
  product: 'MySQL',
  limitStatements: `SET SESSION max_execution_time = ${STATEMENT_LIMIT_MS}`,
  waits: mysql8Waits,
};

/**
 * Opens a view of the locks of one MariaDB or MySQL 8 database; without a database in the URL, of the whole server.
 *
 * It needs the privilege PROCESS, and on MySQL also SELECT on performance_schema.
 *
 * @throws LockViewError  UNREACHABLE, NOT_ALLOWED or UNSUPPORTED_SERVER
 */
export async function openMysqlLockView(databaseUrl: string): Promise<LockView> {
  const connection = await createConnection({ uri: databaseUrl, connectTimeout: ANSWER_LIMIT_MS }).catch(
    (cause) => cannotConnect(databaseUrl, cause),
  );
  // The statement in flight, or the next one, says the same.
  connection.on('error', () => undefined);
  const query = queryOn(connection);
  const close = async () => sever(connection);
  try {
    const [server] = await query<{ version: string }>('SELECT VERSION() AS version');
    const kind = productOf(server?.version ?? '');
    await query(kind.limitStatements);
    const waits = await kind.waits(query);
    // Whatever is not allowed is known now, and not when somebody waits.
    await waits();
    let notBeforeMs = nextLook();
    return {
      product: kind.product,
      async sample() {
        await sleep(Math.max(0, notBeforeMs - performance.now()));
        try {
          return await waits();
        } finally {
          notBeforeMs = nextLook();
        }
      },
      counters: () => readCounters(query),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function nextLook(): number {
  return performance.now() + SHORTEST_PAUSE_MS + Math.random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS);
}

function productOf(version: string): Product {
  if (version.includes('MariaDB')) return mariadb;
  if (Number.parseInt(version, 10) >= 8) return mysql8;
  throw new LockViewError(
    'UNSUPPORTED_SERVER',
    `MySQL ${version} shows no locks that could be read here; 8.0 does`,
  );
}

function queryOn(connection: Connection): Query {
  return async <Row>(sql: string) => {
    try {
      const [rows] = await connection.query<RowDataPacket[]>({ sql, timeout: ANSWER_LIMIT_MS });
      return rows as Row[];
    } catch (cause) {
      const told = explained(cause);
      // Fallen silent: its answer may come later, in place of the next one's.
      if (told.code === 'LOST') sever(connection);
      throw told;
    }
  };
}

/** Neither end() nor destroy() closes a connection on which an answer is still owed, and it would keep us alive. */
function sever(connection: Connection): void {
  connection.destroy();
  (connection as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}

async function readCounters(query: Query): Promise<RowLockCounters> {
  const rows = await query<{ Variable_name: string; Value: string }>(
    `SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_row_lock_waits', 'Innodb_row_lock_time')`,
  );
  const value = (name: string) =>
    Number(rows.find(({ Variable_name }) => Variable_name === name)?.Value ?? 0);
  return { waits: value('Innodb_row_lock_waits'), waitedMs: value('Innodb_row_lock_time') };
}

function explained(cause: unknown): LockViewError {
  // Only what the server itself answered has its SQLSTATE.
  const { errno, sqlState } = cause as { errno?: number; sqlState?: string };
  const number = sqlState === undefined ? undefined : errno;
  if (number === undefined || LOST_NUMBERS.includes(number)) {
    return new LockViewError('LOST', `the connection that watches the locks was lost: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (TOO_SLOW.includes(number)) {
    const message = `the database took longer than ${STATEMENT_LIMIT_MS} ms to show its locks`;
    return new LockViewError('SLOW', message, { cause });
  }
  if (NOT_ALLOWED.includes(number)) {
    return new LockViewError('NOT_ALLOWED', `this user may not see the locks: ${reasonOf(cause)}`, { cause });
  }
  return new LockViewError('FAILED', `the database does not show its locks: ${reasonOf(cause)}`, { cause });
}
