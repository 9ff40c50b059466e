import { createPool } from 'mysql2';
import pg from 'pg';
import { mysql2Sessions } from '../src/adapters/mysql2.ts';
import { pgSessions } from '../src/adapters/pg.ts';
import { type LockStore, type SqlSessions, sqlLockStore } from '../src/index.ts';

export interface LockPool {
  readonly store: LockStore;
  readonly sessions: SqlSessions;
  close(): Promise<void>;
}

export interface LockPoolOptions {
  /** Most connections. */
  readonly connections?: number;
  /** How long one waits for a connection. */
  readonly acquireTimeoutMs?: number;
  /** Another port of 127.0.0.1 than the server's. */
  readonly port?: number;
  readonly user?: { readonly name: string; readonly password: string };
}

/** Far less than anything that the tests wait for: a statement that waits for a lock must not know it. */
const QUERY_TIMEOUT_MS = 300;

/** What a process of a service has for locks: a store over a pool for it alone. */
export function lockPool(url: string, options: LockPoolOptions = {}): LockPool {
  const { port, user } = options;
  const at = new URL(url);
  const server = {
    host: at.hostname,
    port: port ?? Number(at.port),
    user: user?.name ?? at.username,
    password: user?.password ?? at.password,
    database: at.pathname.slice(1),
  };
  return at.protocol === 'postgres:' ? pgLockPool(server, options) : mysql2LockPool(server, options);
}

type Server = Readonly<Record<'host' | 'user' | 'password' | 'database', string>> & { readonly port: number };

function withDefaults({ connections = 8, acquireTimeoutMs = 10_000 }: LockPoolOptions) {
  return { connections, acquireTimeoutMs };
}

function pgLockPool(server: Server, options: LockPoolOptions): LockPool {
  const { connections, acquireTimeoutMs } = withDefaults(options);
  const pool = new pg.Pool({
    ...server,
    max: connections,
    connectionTimeoutMillis: acquireTimeoutMs,
    query_timeout: QUERY_TIMEOUT_MS,
  });
  const sessions = pgSessions(pool);
  return {
    store: sqlLockStore(sessions),
    sessions,
    close: () => pool.end(),
  };
}

function mysql2LockPool(server: Server, options: LockPoolOptions): LockPool {
  const { connections, acquireTimeoutMs } = withDefaults(options);
  const pool = createPool({ ...server, connectionLimit: connections, connectTimeout: acquireTimeoutMs });
  const sessions = mysql2Sessions(pool, {
    acquireTimeoutMs,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  return {
    store: sqlLockStore(sessions),
    sessions,
    close: () => pool.promise().end(),
  };
}
