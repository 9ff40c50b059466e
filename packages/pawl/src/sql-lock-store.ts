import { createHash } from 'node:crypto';
import { StoreError, type StoreErrorCode } from './errors.ts';
import type { LockAsk, LockGrant, LockPlace, LockStore, ReleasedPlace } from './lock-store.ts';
import type { SessionLock, SqlOwnSession, SqlSessions } from './ports.ts';

export interface SqlLockStoreOptions {
  /** Keeps the locks of several services apart. Default `pawl`. */
  readonly namespace?: string;
}

/**
 * Locks of a database's sessions: the advisory locks of PostgreSQL (14 or later), GET_LOCK of MySQL and MariaDB. No table, and
 * nothing to sweep.
 *
 * Each key that this process holds or waits for takes a session of its own, from the first statement to the last: give the
 * store a pool for itself (`pgSessions`, `mysql2Sessions`), with as many connections. A place waits in the server's own
 * queue, as a statement that blocks: nobody polls, and the server wakes who is next, in the order in which they came. On
 * PostgreSQL a session that waits has a snapshot, which holds up VACUUM for so long.
 *
 * The lease is the server's limit for a session that is idle (`idle_session_timeout`; `wait_timeout` in whole seconds, rounded
 * up), set for as long as the lock is held: a holder that stands still loses its session, and with it the lock; one that
 * dies loses it at once. The holder is told when its session ends (`onLost`). Where a connection breaks without anybody's
 * notice, a held lock ends with its lease; who waits without `waitMs` does not hear of it until TCP does: turn on its
 * keep-alive.
 *
 * A free lock costs two round trips with its return on PostgreSQL, and one more when it has to wait; four on MySQL, the last of
 * which nobody waits for, and two more when it has to wait.
 *
 * Who asks with `waitMs`, as `distributedLocks` does, waits in statements that the server ends after so long (MySQL counts in
 * whole seconds, rounded up); as long as he has not left he asks again, behind all others. Who leaves within a second of
 * such an end keeps the connection until then. Who leaves at another time cuts it, and the next lock opens another: the
 * server may have the old session for a second more, in which the pool counts it on PostgreSQL, and does not on MySQL. An
 * answer that is a lease late is not waited for: the link has fallen silent, and is cut.
 *
 * **The pool must be large enough.** Who finds no free connection in it waits for one as long as the adapter's limit says, and
 * is then told `UNAVAILABLE`, and not `lock-timeout`: it cannot be told from a server that is down.
 *
 * Tokens are the database's time in microseconds, of which a grant uses the next 16; between two grants of a key lie the end of
 * the first and at least one message. So they grow as long as the database's clock does not go back; where it does (a
 * failover), registration in the protected row refuses the older token, or the newer: nobody writes over another.
 *
 * **What it does not promise:** anything behind a pooler that gives a session's statements to several (pgbouncer, but in
 * session mode), or between the nodes of a cluster: a standby and every node of Galera has locks of its own. Locks are the
 * database's on PostgreSQL, and the whole server's on MySQL.
 *
 * @see PostgreSQL, "Advisory Locks"; MySQL, "Locking Functions"
 */
export function sqlLockStore(
  sessions: SqlSessions,
  { namespace = 'pawl' }: SqlLockStoreOptions = {},
): LockStore {
  return {
    kind: sessions.dialect.name,
    queue(key, ask) {
      const digest = createHash('sha256')
        .update(JSON.stringify([namespace, key]))
        .digest();
      return new SqlPlace(sessions, { digest, ...ask });
    },
    // The sessions are whoever's the pool is.
    close: async () => undefined,
  };
}

type Ask = LockAsk & SessionLock;

/** After these somebody who asks again may be granted the lock: his statement was ended, and not refused. */
const ENDED_FROM_OUTSIDE: ReadonlySet<StoreErrorCode> = new Set([
  'CONNECTION_LOST',
  'STATEMENT_CANCELED',
  'LOCK_TIMEOUT',
  'DEADLOCK',
]);

/** How long to pause before asking again, in milliseconds: twice as long after each failure that comes at once. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/** Whoever leaves when his statement ends within so long, in milliseconds, lets it: a server takes as long to notice a cut. */
const RUNS_OUT_MS = 1_000;

/** By how much a server may round the limit of a wait up, in milliseconds. */
const ROUNDING_MS = 1_000;

class SqlPlace implements LockPlace {
  readonly granted: Promise<LockGrant | undefined>;
  trouble: StoreError | undefined;
  readonly #sessions: SqlSessions;
  readonly #ask: Ask;
  /** On which it is asking. */
  #session: SqlOwnSession | undefined;
  #grant: SqlGrant | undefined;
  /** When its statement ends by itself, by `performance.now()`. */
  #endsAtMs = Number.POSITIVE_INFINITY;
  #pause: NodeJS.Timeout | undefined;
  #left = false;

  /** @param first  The session to ask on first. */
  constructor(sessions: SqlSessions, ask: Ask, first = () => sessions.session()) {
    this.#sessions = sessions;
    this.#ask = ask;
    this.granted = this.#stand(first);
    // Whoever has left does not listen any more.
    this.granted.catch(() => undefined);
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    clearTimeout(this.#pause);
    // Nothing but its end makes a server forget a statement that blocks.
    if (Math.abs(this.#endsAtMs - performance.now()) > RUNS_OUT_MS) this.#session?.cut();
    // What cannot be given back ends with its session.
    await this.#grant?.release().catch(() => undefined);
  }

  async #stand(first: () => Promise<SqlOwnSession>): Promise<LockGrant | undefined> {
    let session = first;
    let asked = false;
    let pauseMs = FIRST_PAUSE_MS;
    for (;;) {
      const askedMs = performance.now();
      try {
        return await this.#askOn(session);
      } catch (error) {
        if (this.#left) return never();
        if (
          !(error instanceof StoreError) ||
          !(asked ? this.#ask.wait : ENDED_FROM_OUTSIDE.has(error.code))
        ) {
          this.#left = true;
          // The lock may be taken until the lease is over, whatever came later.
          throw error instanceof StoreError && this.trouble?.effect === 'unknown' ? this.trouble : error;
        }
        this.trouble = error;
      }
      if (performance.now() - askedMs > LONGEST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
      await this.#pauseFor(pauseMs);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      session = () => this.#sessions.session();
      asked = true;
    }
  }

  async #askOn(open: () => Promise<SqlOwnSession>): Promise<LockGrant | undefined> {
    const session = await open();
    if (this.#left) {
      putBack(session, this.#ask);
      return never();
    }
    this.trouble = undefined;
    this.#session = session;
    try {
      // All that a free lock needs, and not had before somebody who waits.
      let grant = await this.#take(session, { wait: false });
      while (grant === undefined && this.#ask.wait && !this.#left) {
        grant = await this.#take(session, { wait: true });
      }
      if (this.#left) {
        if (grant === undefined) putBack(session, this.#ask);
        // What cannot be given back ends with its session.
        else await grant.release().catch(() => undefined);
        return never();
      }
      if (grant === undefined) putBack(session, this.#ask);
      this.#grant = grant;
      return grant;
    } catch (error) {
      // It may have the lock: nobody else may be given it.
      session.cut();
      throw error;
    } finally {
      this.#session = undefined;
    }
  }

  async #take(session: SqlOwnSession, { wait }: Pick<LockAsk, 'wait'>): Promise<SqlGrant | undefined> {
    const { leaseMs, waitMs = 0 } = this.#ask;
    const leasedAtMs = performance.now();
    const limitMs = !wait ? 0 : waitMs || Number.POSITIVE_INFINITY;
    this.#endsAtMs = leasedAtMs + limitMs;
    const taken = session.dialect.sessionLock.take(session, { ...this.#ask, wait });
    const firstToken = await cutAfter(limitMs + leaseMs + (wait ? ROUNDING_MS : 0), session, taken);
    if (firstToken === undefined) return undefined;
    return new SqlGrant(this.#sessions, session, this.#ask, { firstToken, leasedAtMs });
  }

  #pauseFor(ms: number): Promise<void> {
    return new Promise((resolve) => {
      // Between half of it and all of it, so that those whom one failure met do not come back at once.
      this.#pause = setTimeout(resolve, ms * (1 + Math.random()) * 0.5);
    });
  }
}

class SqlGrant implements LockGrant {
  readonly firstToken: number;
  readonly leasedAtMs: number;
  readonly #sessions: SqlSessions;
  readonly #session: SqlOwnSession;
  readonly #ask: Ask;
  #held = true;
  /** Why the session has ended under it. */
  #lost: { readonly cause: unknown } | undefined;
  #told: ((cause: unknown) => void) | undefined;

  constructor(
    sessions: SqlSessions,
    session: SqlOwnSession,
    ask: Ask,
    { firstToken, leasedAtMs }: Pick<LockGrant, 'firstToken' | 'leasedAtMs'>,
  ) {
    this.#sessions = sessions;
    this.#session = session;
    this.#ask = ask;
    this.firstToken = firstToken;
    this.leasedAtMs = leasedAtMs;
    session.onLost((cause) => this.#lose(cause));
  }

  async renew(): Promise<boolean> {
    if (!this.#held) return false;
    try {
      const held = await this.#answer('renew');
      if (!held) this.#lose(undefined);
      return held;
    } catch (error) {
      if (error instanceof StoreError && error.code === 'CONNECTION_LOST') this.#lose(error);
      throw error;
    }
  }

  async release(): Promise<boolean> {
    const session = await this.#unlock();
    if (session !== undefined) putBack(session, this.#ask);
    return session !== undefined;
  }

  releaseAndQueue(): ReleasedPlace {
    const unlocked = this.#unlock();
    const released = unlocked.then((session) => session !== undefined);
    // The place asks anyway.
    released.catch(() => undefined);
    const first = async () => (await unlocked.catch(() => undefined)) ?? this.#sessions.session();
    return Object.assign(new SqlPlace(this.#sessions, { ...this.#ask, wait: true }, first), { released });
  }

  onLost(told: (cause: unknown) => void): void {
    this.#told = told;
    const lost = this.#lost;
    if (lost !== undefined) queueMicrotask(() => told(lost.cause));
  }

  /** @returns the session, whose settings are still the lock's; undefined where it did not have the lock. @throws StoreError */
  async #unlock(): Promise<SqlOwnSession | undefined> {
    if (!this.#held) return undefined;
    this.#held = false;
    try {
      if (await this.#answer('release')) return this.#session;
    } catch (error) {
      this.#session.cut();
      throw error;
    }
    this.#session.cut();
    return undefined;
  }

  #lose(cause: unknown): void {
    if (!this.#held) return;
    this.#held = false;
    this.#lost = { cause };
    this.#session.cut();
    this.#told?.(cause);
  }

  /** No answer within the lease is none: the lock has ended by then, wherever the connection was cut. */
  #answer(step: 'renew' | 'release'): Promise<boolean> {
    const { sessionLock } = this.#session.dialect;
    return cutAfter(this.#ask.leaseMs, this.#session, sessionLock[step](this.#session, this.#ask));
  }
}

/** For who has left. A new one each time, or they would all be kept. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** Gives a session back that has no lock any more. Nobody waits for it. */
function putBack(session: SqlOwnSession, { leaseMs }: Ask): void {
  const { restore } = session.dialect.sessionLock;
  if (restore === undefined) session.release();
  else
    cutAfter(leaseMs, session, session.execute(restore)).then(
      () => session.release(),
      () => session.cut(),
    );
}

function cutAfter<T>(limitMs: number, session: SqlOwnSession, answer: Promise<T>): Promise<T> {
  if (limitMs === Number.POSITIVE_INFINITY) return answer;
  // In two halves: after a standstill of this process an overdue timer runs before the answer is read that has arrived.
  let limit = setTimeout(() => {
    limit = setTimeout(() => session.cut(), limitMs / 2);
  }, limitMs / 2);
  return answer.finally(() => clearTimeout(limit));
}
