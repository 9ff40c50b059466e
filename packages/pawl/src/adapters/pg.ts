import { MisuseError, StoreError } from '../errors.ts';
import type {
  Decision,
  InterimDecision,
  SqlOwnSession,
  SqlPort,
  SqlResult,
  SqlSessions,
  SqlStatement,
} from '../ports.ts';
import { CHECK_CLIENT_MS } from '../postgres/distributed-lock.ts';
import { postgres } from '../postgres/index.ts';
import { LONGEST_TIMER_MS } from '../timers.ts';
import { neverCommitted } from './never-committed.ts';
import { canExchange, exchange, isForgotten, type PgResult, requireSendable } from './pg-exchange.ts';
import { transactionHandle, transactionIsOver } from './transaction-handle.ts';
import { endsTransaction } from './transaction-text.ts';

/** What this adapter needs of a client of `pg`. */
export interface PgClient {
  query(statement: string | PgQuery, values?: readonly unknown[]): Promise<PgResult>;
  release(destroy?: boolean | Error): void;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface PgQuery {
  readonly text: string;
  readonly values: unknown[];
  readonly query_timeout?: number;
}

/** What this adapter needs of a `Pool` of `pg`. */
export interface PgPool {
  connect(answer: (error: Error | undefined, client: PgClient | undefined) => void): void;
  end(): Promise<void>;
  readonly options: object;
}

/**
 * A pool whose every error is a `StoreError`. Give it to whatever runs statements over `pg` beside the guards
 * (`new PostgresDialect({ pool: classifiedPgPool(pool) })`), so that all of a service speaks of failures in one
 * way: no connection to be had is `UNAVAILABLE`, one that broke is `CONNECTION_LOST`. Its clients are taken as `pgPort` takes them: idle.
 */
export function classifiedPgPool<Pool extends PgPool>(pool: Pool): Pool {
  const clients = new WeakMap<PgClient, PgClient>();

  /** One wrapper for each client: callers keep what they know of a connection by its identity. */
  function wrap(client: PgClient): PgClient {
    const known = clients.get(client);
    if (known !== undefined) return known;
    let broken = false;
    let ending = false;

    async function classifiedQuery(text: string, values: readonly unknown[] | undefined): Promise<PgResult> {
      const ends = endsTransaction(text);
      // What comes after a COMMIT or ROLLBACK that is on its way would commit by itself.
      if (ending && !ends) throw transactionIsOver();
      if (ends) ending = true;
      try {
        return await query(client, text, values);
      } catch (error) {
        broken ||= error instanceof StoreError && error.code === 'CONNECTION_LOST';
        throw error;
      } finally {
        if (ends) ending = false;
      }
    }

    const classified = new Proxy(client, {
      get: (target, name) => {
        if (name === 'release') {
          // That of this lending, as the pool's own: the client may be somebody else's when it is called.
          const { release } = target;
          // One whose answer never came may still be at work on it: nobody else must be given it.
          return (destroy?: boolean | Error) => release.call(target, destroy || broken);
        }
        if (name !== 'query') return Reflect.get(target, name, target);
        return (statement: unknown, ...others: unknown[]) => {
          // A cursor is not a statement yet, and its errors are its reader's.
          if (typeof statement !== 'string')
            return Reflect.apply(target.query, target, [statement, ...others]);
          const [values, answer] = typeof others[0] === 'function' ? [undefined, others[0]] : others;
          const result = classifiedQuery(statement, (values as unknown[] | null | undefined) ?? undefined);
          if (typeof answer !== 'function') return result;
          return tell(
            result,
            (rows) => answer(null, rows),
            (error) => answer(error),
          );
        };
      },
    });
    clients.set(client, classified);
    return classified;
  }

  function lend(
    answer?: (error: Error | undefined, client: PgClient | undefined, release: PgClient['release']) => void,
  ): Promise<PgClient> | undefined {
    const lent = connectIdle(pool).then(wrap);
    if (answer === undefined) return lent;
    tell(
      lent,
      (client) => answer(undefined, client, client.release),
      (error) => answer(error, undefined, () => undefined),
    );
    return undefined;
  }

  return new Proxy(pool, {
    get: (target, name) => (name === 'connect' ? lend : Reflect.get(target, name, target)),
  });
}

/** By callback, as the driver does: once, and what that throws is an exception that nobody catches. */
function tell<T>(result: Promise<T>, done: (value: T) => void, failed: (error: Error) => void): void {
  result.then(
    (value) => queueMicrotask(() => done(value)),
    (error: Error) => queueMicrotask(() => failed(error)),
  );
}

export interface PgPortOptions {
  /**
   * Whether statements about many rows are kept prepared in their sessions. `false` where a pooler between here and the server gives each
   * transaction another session and does not know of them: PgBouncer does since 1.21. Default: true.
   */
  readonly prepared?: boolean;
  /**
   * The pool is for groups (`groupCommit` and what is built on it), and for nothing else, and each of its connections is a session of its own:
   * no pooler lends them to others between two transactions. Each session is told once what is otherwise told to each transaction of
   * `readThenWrite` (not to read whole tables: `enable_seqscan`, and without `jit`), and is READ COMMITTED, also where a statement is
   * the transaction. Default: false.
   */
  readonly forGroups?: boolean;
}

/**
 * A plan that is kept is made for its table as it is then, and may be to read all of a small one. Minutes may pass until the server
 * analyzes it and plans anew, and each batch reads what has become of it by then. Not said with SET LOCAL, which complains where a
 * message by itself is the transaction.
 *
 * Before PostgreSQL 18 a table that has no index to be read by costs so much then that its statement would be compiled each time.
 */
const BY_INDEX: SqlStatement = {
  text: "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)",
  values: [],
  prepared: true,
};

/** To a session, whose default level is said besides. */
const FOR_GROUPS =
  'SET enable_seqscan = off; SET jit = off; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED';

/**
 * The SQL port over a pool of `pg`. Transactions of two round trips (`readThenWrite`) are had over all clients but those that pipeline
 * (`pipeline: true`): there each statement is one. Not over `pg-native`, which sends no binary values.
 *
 * A client that somebody has given back in the middle of a transaction is not used, where it tells so (`getTransactionStatus`): that is
 * `ROLLED_BACK`, nothing was done, and what he had begun ends with its connection. Whoever goes on with a client that he has given back may
 * begin one all the same: a statement that is a transaction by itself is unknown then, and a transaction has his statements in it.
 */
export function pgPort(pool: PgPool, { prepared = true, forGroups = false }: PgPortOptions = {}): SqlPort {
  if (forGroups && !prepared) {
    throw new MisuseError(
      'where a pooler lends sessions to others (prepared: false), none is for groups alone',
    );
  }
  const lend = forGroups ? () => connectForGroups(pool) : () => connectIdle(pool);
  return {
    dialect: postgres,
    readThenWrite: (reads, decide) => readThenWrite({ lend, prepared, forGroups }, reads, decide),

    async execute({ text, values }) {
      const client = await lend();
      let broken = false;
      try {
        const result = await query(client, text, values);
        requireAlone(client);
        return normalise(result);
      } catch (error) {
        broken = await isSpoilt(client, error);
        throw error;
      } finally {
        client.release(broken);
      }
    },

    async transaction(work) {
      const client = await lend();
      const { transaction, end } = transactionHandle(postgres, async ({ text, values }) =>
        normalise(await query(client, text, values)),
      );
      let broken = true;
      try {
        await neverCommitted(() => query(client, BEGIN.text));
        const result = await work(transaction).catch(async (error: unknown) => {
          end();
          broken = await rollback(client).then(
            () => false,
            () => true,
          );
          throw error;
        });
        end();
        const answer = await query(client, COMMIT.text);
        broken = false;
        requireCommitted(answer);
        return result;
      } finally {
        client.release(broken);
      }
    },
  };
}

const BEGIN: SqlStatement = { text: 'BEGIN ISOLATION LEVEL READ COMMITTED', values: [] };
const COMMIT: SqlStatement = { text: 'COMMIT', values: [] };

/** Of sessions in which a message may be a transaction: whether it would be READ COMMITTED, by the session's default when it was first asked. */
const isReadCommitted = new WeakMap<object, boolean>();
const DEFAULT_ISOLATION: SqlStatement = {
  text: "SELECT current_setting('default_transaction_isolation') AS level",
  values: [],
};

/** By what a session is known: a client of a classified pool is another object than its own. */
function sessionOf(client: PgClient): object {
  return (client as { readonly connection?: object }).connection ?? client;
}

/** Whether a transaction is open, by the last answer that is complete: `I` where none is. Null: the client does not tell. */
function statusOf(client: PgClient): string | null {
  const { getTransactionStatus } = client as { getTransactionStatus?(): string | null };
  try {
    return getTransactionStatus?.call(client) ?? null;
  } catch {
    // Over a `pg-native` that cannot be asked.
    return null;
  }
}

/** No transaction is open, and nothing is on its way after which one might be. Whoever does not tell is believed. */
function looksIdle(client: PgClient): boolean {
  const status = statusOf(client);
  const { readyForQuery } = client as { readonly readyForQuery?: boolean };
  return status === null || (status === 'I' && readyForQuery !== false);
}

/** Besides, it takes several statements in one message. */
function tellsTransactions(client: PgClient): boolean {
  return statusOf(client) !== null && canExchange(client);
}

/** Where it does not look so, the server is asked: its answer comes after all that was on its way (a COMMIT, the end of an error). */
async function isIdle(client: PgClient): Promise<boolean> {
  if (looksIdle(client)) return true;
  await query(client, '');
  return looksIdle(client);
}

/** Before anything of ours is sent that could be committed. */
async function requireIdle(client: PgClient): Promise<void> {
  if (await isIdle(client)) return;
  throw new StoreError('ROLLED_BACK', 'none', 'the connection was given back in the middle of a transaction');
}

/**
 * After what was to be a transaction by itself. One that somebody has begun meanwhile may be committed all the same: `pg` sends the next
 * statement of a client, which may be his COMMIT, before whoever waits for the last one is told its answer.
 */
function requireAlone(client: PgClient): void {
  const status = statusOf(client);
  if (status === null || status === 'I') return;
  const message = 'somebody who had given the connection back has begun a transaction on it';
  throw new StoreError('CONNECTION_LOST', 'unknown', message);
}

/** PostgreSQL answers ROLLBACK, and no error, to the COMMIT of a transaction in which a statement failed. */
function requireCommitted({ command }: PgResult): void {
  if (command === 'COMMIT') return;
  throw new StoreError('ROLLED_BACK', 'none', `COMMIT was answered with ${command}`);
}

async function readThenWrite<T>(
  { lend, prepared, forGroups }: { readonly lend: () => Promise<PgClient> } & Required<PgPortOptions>,
  reads: readonly SqlStatement[],
  decide: (read: readonly SqlResult[]) => Decision<T> | InterimDecision<T>,
): Promise<T> {
  const client = await lend();
  let broken = false;
  let begun = false;
  // What is not kept is planned each time.
  const setting = prepared && !forGroups && canExchange(client) ? [BY_INDEX] : [];
  /** In one message, the first after a BEGIN. */
  const send = async (statements: readonly SqlStatement[]) => {
    if (begun) return together(client, statements, prepared);
    begun = true;
    const first = [BEGIN, ...setting];
    return (await together(client, [...first, ...statements], prepared)).slice(first.length);
  };
  try {
    let decision = decide(reads.length === 0 ? [] : (await neverCommitted(() => send(reads))).map(normalise));
    while ('next' in decision) {
      const { writes, next } = decision;
      decision = next((await neverCommitted(() => send(writes))).map(normalise));
    }
    const { writes, result } = decision;
    if (writes.length === 0) {
      // What was read is known, whatever becomes of the session.
      if (begun) broken = await rollback(client).then(...endings);
      return result([]);
    }
    // By itself it is a transaction, and needs no COMMIT, where it is seen that nobody has left one open; and so are several up to their Sync.
    const isWhole =
      writes.length === 1 ? statusOf(client) !== null : isReadCommitted.get(sessionOf(client)) === true;
    if (!begun && isWhole) {
      const written = await together(client, [...setting, ...writes], prepared);
      requireAlone(client);
      return result(written.slice(setting.length).map(normalise));
    }
    const asks = !begun && tellsTransactions(client) && isReadCommitted.get(sessionOf(client)) === undefined;
    const asked = asks ? [DEFAULT_ISOLATION] : [];
    const written = await send([...asked, ...writes, COMMIT]);
    begun = false;
    requireCommitted(written.at(-1) as PgResult);
    if (asks) isReadCommitted.set(sessionOf(client), written[0]?.rows[0]?.level === 'read committed');
    return result(written.slice(asked.length, -1).map(normalise));
  } catch (error) {
    broken =
      (begun && !spoils(error) && (await rollback(client).then(...endings))) ||
      (await isSpoilt(client, error));
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Whoever left a transaction open has it rolled back with the connection: our COMMIT would be its too. */
async function connectIdle(pool: PgPool): Promise<PgClient> {
  const client = await connect(pool);
  if (looksIdle(client)) return client;
  try {
    await neverCommitted(() => requireIdle(client));
  } catch (error) {
    client.release(true);
    throw error;
  }
  return client;
}

const setUp = new WeakSet<object>();

/** Told once, with one more round trip. */
async function connectForGroups(pool: PgPool): Promise<PgClient> {
  const client = await connectIdle(pool);
  const session = sessionOf(client);
  if (setUp.has(session)) return client;
  try {
    await neverCommitted(() => query(client, FOR_GROUPS));
    // Within a transaction it would end with that.
    await neverCommitted(() => requireIdle(client));
  } catch (error) {
    client.release(true);
    throw error;
  }
  setUp.add(session);
  if (tellsTransactions(client)) isReadCommitted.set(session, true);
  return client;
}

/** Of a ROLLBACK: whether the session is of no use any more. */
const endings = [() => false, () => true] as const;

/** @throws StoreError  of the first that failed: nothing after it was carried out. */
async function together(
  client: PgClient,
  statements: readonly SqlStatement[],
  prepared: boolean,
): Promise<readonly PgResult[]> {
  if (statements.length === 0) return [];
  try {
    if (canExchange(client)) return await exchange(client, statements, prepared);
    const results: PgResult[] = [];
    for (const { values } of statements) requireSendable(values);
    for (const { text, values } of statements) results.push(await client.query(text, [...values]));
    return results;
  } catch (error) {
    throw postgres.classifyError(error);
  }
}

/** Or somebody else's transaction is open, in which the next would find that nothing of his is done. */
async function isSpoilt(client: PgClient, error: unknown): Promise<boolean> {
  return spoils(error) || !(await isIdle(client).catch(() => false));
}

/** Whether the session is of no use after this error. */
function spoils(error: unknown): boolean {
  if (!(error instanceof StoreError)) return false;
  return error.code === 'CONNECTION_LOST' || error.code === 'ROLLED_BACK' || isForgotten(error.cause);
}

/** What `pgSessions` needs of a `Pool` of `pg`. */
export interface PgSessionPool extends PgPool {
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * Sessions of a pool of `pg`, for `sqlLockStore`: each is one of its clients, until it is given back. Make the pool for that alone,
 * with a connection for each lock that this process may hold or wait for at once (`max`), and a limit for waiting for one
 * (`connectionTimeoutMillis`; without it, whoever wants a lock too many waits until another is given back). Its `query_timeout` does
 * not count here, because a statement that waits for a lock may last.
 */
export function pgSessions(pool: PgSessionPool): SqlSessions {
  // Where nobody listens, an idle connection that the server ends would end the process. The pool has dropped it by then.
  pool.on('error', () => undefined);
  const losses = new WeakMap<PgClient, Loss>();

  function lossOf(client: PgClient): Loss {
    const known = losses.get(client);
    if (known !== undefined) return known;
    const loss: Loss = { cause: undefined, told: undefined };
    client.on('error', (cause) => {
      if (loss.cause !== undefined) return;
      loss.cause = cause;
      loss.told?.(cause);
    });
    losses.set(client, loss);
    return loss;
  }

  return {
    dialect: postgres,
    async session() {
      const client = await connect(pool);
      return ownSession(client, lossOf(client));
    },
  };
}

interface Loss {
  cause: Error | undefined;
  told: ((cause: unknown) => void) | undefined;
}

/** When the server has noticed that a connection is gone on which it was at work, in milliseconds. */
const NOTICED_MS = CHECK_CLIENT_MS * 1.2;

function ownSession(client: PgClient, loss: Loss): SqlOwnSession {
  let lent = true;
  let inFlight = 0;
  function giveBack(destroy: boolean): void {
    if (!lent) return;
    lent = false;
    loss.told = undefined;
    client.release(destroy);
  }
  return {
    dialect: postgres,
    async execute({ text, values }) {
      const statement = { text, values: [...values], query_timeout: LONGEST_TIMER_MS };
      inFlight++;
      try {
        const result: PgResult | PgResult[] = await query(client, statement);
        // Of several statements, an array.
        const last = Array.isArray(result) ? result.at(-1) : result;
        return normalise(last);
      } finally {
        inFlight--;
      }
    },
    onLost(told) {
      loss.told = told;
      const { cause } = loss;
      if (cause !== undefined) queueMicrotask(() => told(cause));
    },
    release: () => giveBack(loss.cause !== undefined),
    cut() {
      if (!lent || inFlight === 0) return giveBack(true);
      lent = false;
      loss.told = undefined;
      client.end().catch(() => undefined);
      // Until then the server has the session, and the pool must not open another in its place.
      setTimeout(() => client.release(true), NOTICED_MS);
    },
  };
}

const listenedTo = new WeakSet<PgClient>();

/**
 * By callback: the pool stops listening to a client when it hands it out, and a promise would be answered a moment later,
 * in which an error that came with the last bytes of the greeting would end the process.
 */
function connect(pool: PgPool): Promise<PgClient> {
  return new Promise((resolve, reject) => {
    pool.connect((error, client) => {
      if (client === undefined) {
        const message = error?.message ?? 'the pool gave no connection';
        const refused = new StoreError('UNAVAILABLE', 'none', message, { cause: error });
        return reject(error instanceof StoreError ? error : refused);
      }
      if (!listenedTo.has(client)) {
        listenedTo.add(client);
        // The pool listens to idle clients only. One that breaks between two statements of a transaction would end
        // the process; its next statement fails all the same.
        client.on('error', () => undefined);
      }
      return resolve(client);
    });
  });
}

async function query(
  client: PgClient,
  statement: string | PgQuery,
  values?: readonly unknown[],
): Promise<PgResult> {
  try {
    if (values !== undefined) requireSendable(values);
    return await client.query(statement, values);
  } catch (error) {
    throw postgres.classifyError(error);
  }
}

async function rollback(client: PgClient): Promise<void> {
  await client.query('ROLLBACK');
}

function normalise(result: PgResult): SqlResult {
  return { rows: result.rows, affectedRows: result.rowCount ?? 0 };
}
