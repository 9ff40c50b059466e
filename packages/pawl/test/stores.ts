import { Kysely, MysqlDialect, PostgresDialect } from 'kysely';
import { createPool, type Pool, type PoolOptions, type ResultSetHeader } from 'mysql2';
import { type Connection, createConnection } from 'mysql2/promise';
import pg from 'pg';
import { newDatabase, type SqlStore } from '../../../test/stores.ts';
import { kyselyPort } from '../src/adapters/kysely.ts';
import { classifiedMysql2Pool, mysql2Port } from '../src/adapters/mysql2.ts';
import { classifiedPgPool, pgPort } from '../src/adapters/pg.ts';
import { killStatement, placeholders, SESSION_ID, waitingForLocks } from '../src/conformance/database.ts';
import type { SqlPort, SqlResult, SqlStatement, SqlTransaction, SqlValue } from '../src/index.ts';
import { mysql } from '../src/mysql/index.ts';
import { postgres } from '../src/postgres/index.ts';

export { sqlStores } from '../../../test/stores.ts';
export { SESSION_ID } from '../src/conformance/database.ts';

export type Isolation = 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';

export interface PortOptions {
  /** What the adapter is over. Absent: the bare driver. With `together` it sends several statements in one message. */
  readonly over?: 'driver' | 'kysely' | 'together';
  /** As of the adapters of the drivers. */
  readonly forGroups?: boolean;
  /** Most connections. */
  readonly connections?: number;
  /** Another port of 127.0.0.1 than the server's: a proxy's, or nobody's. */
  readonly port?: number;
  readonly acquireTimeoutMs?: number;
  readonly queryTimeoutMs?: number;
  /** Settings of every session, in the words of its server. */
  readonly settings?: Readonly<Record<string, string>>;
  /** As whom to connect, instead of the store's own user. */
  readonly user?: { readonly name: string; readonly password: string };
}

/** One connection of the bare driver, outside every adapter and every guard. */
export interface Session {
  readonly id: number;
  /** @throws the driver's error. */
  query(text: string, ...values: SqlValue[]): Promise<BareResult>;
  begin(isolation: Isolation): Promise<void>;
}

export interface BareResult extends SqlResult {
  /** PostgreSQL's word for what it did: `COMMIT`, or `ROLLBACK` in answer to one. */
  readonly command: string | undefined;
}

/** A database of the run, used in the same words whichever it is. In every statement `?` marks a value. */
export interface Store {
  readonly kind: 'postgres' | 'mysql';
  readonly url: string;
  /** A port of the library. It is closed with the store. */
  open(options?: PortOptions): SqlPort;
  /** A session that `endSessions` closes. */
  connect(): Promise<Session>;
  /** Runs one statement on a connection of the store's own. */
  query(text: string, ...values: SqlValue[]): Promise<BareResult>;
  /** A statement for the library's ports. */
  statement(text: string, ...values: SqlValue[]): SqlStatement;
  /** The settings that make `isolation` the default of a session. */
  defaultIsolation(isolation: Isolation): Readonly<Record<string, string>>;
  /** Sessions of this database that wait for a row lock now. */
  waitingForLocks(): Promise<number>;
  kill(id: number): Promise<void>;
  /** Takes a new connection of its own, where the server has ended the last one. */
  reconnect(): Promise<void>;
  /** Closes what `connect` gave; open transactions roll back. */
  endSessions(): Promise<void>;
  close(): Promise<void>;
}

/** Ends a transaction that a failed test has left, before it holds up the tests that follow. */
const IDLE_IN_TRANSACTION_MS = 5_000;
/** A bare session that waits for longer waits in vain. */
const LOCK_WAIT_MS = 10_000;
const DEFAULTS = { connections: 4, acquireTimeoutMs: 10_000, queryTimeoutMs: 20_000 };

/** Opens a new database on one of the run's servers. */
export async function openStore(name: SqlStore): Promise<Store> {
  return storeAt(await newDatabase(name));
}

/** Opens the database that `url` names, as `openStore` does. */
export async function storeAt(url: string): Promise<Store> {
  const driver = url.startsWith('postgres') ? await postgresDriver(url) : await mysqlDriver(url);
  const sessions: (Session & Closable)[] = [];
  const ports: Closable[] = [];
  let own = await driver.connect();

  async function endSessions(): Promise<void> {
    for (const session of sessions.splice(0)) await session.close();
  }

  return {
    kind: driver.kind,
    url,
    open(options = {}) {
      const { sql, close } = driver.open(options);
      ports.push({ close });
      return sql;
    },
    async connect() {
      const session = await driver.connect();
      sessions.push(session);
      return session;
    },
    query: (text, ...values) => own.query(text, ...values),
    statement: (text, ...values) => ({ text: placeholders(driver.kind, text), values }),
    defaultIsolation: driver.defaultIsolation,
    waitingForLocks: () => waitingForLocks(driver.kind, (text) => own.query(text)),
    async kill(id) {
      await own.query(killStatement(driver.kind, id));
    },
    async reconnect() {
      await own.close();
      own = await driver.connect();
    },
    endSessions,
    async close() {
      for (const port of ports) await port.close();
      await endSessions();
      await own.close();
    },
  };
}

/**
 * A port whose transactions are at `isolation`, instead of the level that the library chooses: a guard may be given a
 * transaction that its caller has begun.
 */
export function atIsolation(sql: SqlPort, isolation: Isolation): SqlPort {
  const level = `SET TRANSACTION ISOLATION LEVEL ${isolation}`;
  const statements = sql.dialect.name === 'postgres' ? [level] : ['ROLLBACK', level, 'START TRANSACTION'];
  return {
    ...sql,
    transaction: (work) =>
      sql.transaction(async (transaction: SqlTransaction) => {
        for (const text of statements) await transaction.execute({ text, values: [] });
        return work(transaction);
      }),
  };
}

interface Closable {
  close(): Promise<void>;
}

interface Driver {
  readonly kind: Store['kind'];
  open(options: PortOptions): { sql: SqlPort } & Closable;
  connect(): Promise<Session & Closable>;
  defaultIsolation: Store['defaultIsolation'];
}

async function postgresDriver(url: string): Promise<Driver> {
  const defaults = {
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
    // It looks for a deadlock only when somebody has waited for so long.
    deadlock_timeout: '100ms',
  };
  const options = (settings: PortOptions['settings']) =>
    Object.entries({ ...defaults, ...settings })
      .map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)
      .join(' ');

  return {
    kind: 'postgres',
    open({ over, forGroups = false, port, settings, user, ...limits }) {
      const { connections, acquireTimeoutMs, queryTimeoutMs } = { ...DEFAULTS, ...limits };
      const { hostname, port: ownPort, username, password, pathname } = new URL(url);
      const pool = new pg.Pool({
        host: hostname,
        port: port ?? Number(ownPort),
        user: user?.name ?? username,
        password: user?.password ?? password,
        database: pathname.slice(1),
        max: connections,
        connectionTimeoutMillis: acquireTimeoutMs,
        query_timeout: queryTimeoutMs,
        options: options(settings),
      });
      // Without a listener, a broken idle connection would end the process.
      pool.on('error', () => undefined);
      if (over !== 'kysely') return { sql: pgPort(pool, { forGroups }), close: () => pool.end() };
      const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: classifiedPgPool(pool) }) });
      return { sql: kyselyPort(db, postgres), close: () => db.destroy() };
    },
    async connect() {
      const client = new pg.Client({ connectionString: url, options: options({}) });
      client.on('error', () => undefined);
      await client.connect();
      const query: Session['query'] = async (text, ...values) => {
        const { rows, rowCount, command } = await client.query(placeholders('postgres', text), values);
        return { rows, affectedRows: rowCount ?? 0, command };
      };
      return {
        id: await sessionId(query, 'postgres'),
        query,
        async begin(isolation) {
          await query(`BEGIN ISOLATION LEVEL ${isolation}`);
        },
        close: () => client.end(),
      };
    },
    defaultIsolation: (isolation) => ({ default_transaction_isolation: isolation.toLowerCase() }),
  };
}

/** Dates in UTC both ways; integers of 64 bits as text, where a number would lose digits. */
const MYSQL_VALUES = { timezone: 'Z', supportBigNumbers: true, bigNumberStrings: true } satisfies PoolOptions;

async function mysqlDriver(url: string): Promise<Driver> {
  return {
    kind: 'mysql',
    open({ over, forGroups = false, port, settings, user, ...limits }) {
      const { connections, ...timeouts } = { ...DEFAULTS, ...limits };
      const { hostname, port: ownPort, username, password, pathname } = new URL(url);
      const pool = createPool({
        host: hostname,
        port: port ?? Number(ownPort),
        user: user?.name ?? username,
        password: user?.password ?? password,
        database: pathname.slice(1),
        connectionLimit: connections,
        multipleStatements: over === 'together',
        ...MYSQL_VALUES,
      });
      const idle = { idle_transaction_timeout: String(IDLE_IN_TRANSACTION_MS / 1_000), ...settings };
      const setUp = Object.entries(idle).map(([name, value]) => `SET SESSION ${name} = ${value}`);
      const adapterOptions = { ...timeouts, setUp };
      if (over !== 'kysely')
        return { sql: mysql2Port(pool, { ...adapterOptions, forGroups }), close: () => pool.promise().end() };
      const classified: Pool = classifiedMysql2Pool(pool, adapterOptions);
      const db = new Kysely<unknown>({ dialect: new MysqlDialect({ pool: classified }) });
      return { sql: kyselyPort(db, mysql), close: () => db.destroy() };
    },
    async connect() {
      const connection: Connection = await createConnection({ uri: url, ...MYSQL_VALUES });
      connection.on('error', () => undefined);
      const query: Session['query'] = async (text, ...values) => {
        const [result] = await (values.length === 0
          ? connection.query(text)
          : connection.execute(text, values));
        if (Array.isArray(result)) {
          return { rows: result as SqlResult['rows'], affectedRows: result.length, command: undefined };
        }
        return { rows: [], affectedRows: (result as ResultSetHeader).affectedRows, command: undefined };
      };
      await query(
        `SET SESSION idle_transaction_timeout = ${IDLE_IN_TRANSACTION_MS / 1_000},
         SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_MS / 1_000}`,
      );
      return {
        id: await sessionId(query, 'mysql'),
        query,
        async begin(isolation) {
          await query(`SET TRANSACTION ISOLATION LEVEL ${isolation}`);
          await query('BEGIN');
        },
        async close() {
          connection.destroy();
        },
      };
    },
    defaultIsolation: (isolation) => ({ tx_isolation: `'${isolation.replace(' ', '-')}'` }),
  };
}

async function sessionId(query: Session['query'], kind: Store['kind']): Promise<number> {
  const { rows } = await query(SESSION_ID[kind]);
  return Number(rows[0]?.id);
}
