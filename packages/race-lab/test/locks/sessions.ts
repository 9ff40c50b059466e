import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import { openLockView } from '../../src/locks/index.ts';
import type { LockView, LockWait } from '../../src/locks/lock-wait.ts';

/** A connection with the bare driver, closed with the test. */
export interface TestSession {
  /** As the database and the lock view name it. */
  id: string;
  run(statement: string): Promise<Record<string, unknown>[]>;
}

export async function session(databaseUrl: string): Promise<TestSession> {
  return databaseUrl.startsWith('postgres') ? postgresSession(databaseUrl) : mysqlSession(databaseUrl);
}

async function postgresSession(connectionString: string): Promise<TestSession> {
  const client = new pg.Client({ connectionString, application_name: 'the shop' });
  client.on('error', () => undefined);
  await client.connect();
  onTestFinished(() => client.end());
  const run = async (statement: string) => (await client.query(statement)).rows;
  const [row] = await run('SELECT pg_backend_pid()::text AS id');
  return { id: String(row?.id), run };
}

async function mysqlSession(uri: string): Promise<TestSession> {
  const connection = await createConnection({ uri });
  connection.on('error', () => undefined);
  onTestFinished(() => connection.destroy());
  const run = async (statement: string) => {
    const [rows] = await connection.query(statement);
    return rows as Record<string, unknown>[];
  };
  return { id: String(connection.threadId), run };
}

/** A view that is closed with the test. */
export async function view(databaseUrl: string): Promise<LockView> {
  const opened = await openLockView(databaseUrl);
  onTestFinished(() => opened.close());
  return opened;
}

/** Looks until what is seen is what is looked for. */
export async function seen(
  locks: LockView,
  enough: (waits: readonly LockWait[]) => boolean,
): Promise<LockWait[]> {
  const endMs = performance.now() + 10_000;
  for (;;) {
    const waits = await locks.sample();
    if (enough(waits)) return waits;
    if (performance.now() > endMs) throw new Error(`seen so far: ${JSON.stringify(waits, null, 2)}`);
  }
}

/** The wait of one session. @throws when it does not wait. */
export async function waitOf(locks: LockView, { id }: TestSession): Promise<LockWait> {
  const ofSession = (waits: readonly LockWait[]) => waits.find(({ waiter }) => waiter.session === id);
  const wait = ofSession(await seen(locks, (waits) => ofSession(waits) !== undefined));
  if (wait === undefined) throw new Error('unreachable');
  return wait;
}
