import { type ChildProcess, fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { newMariadbServer, newPostgresServer } from '../../../test/own-server.ts';
import { startProxy } from '../../../test/proxy.ts';
import { SESSION_LOCKS, SESSIONS_WAITING } from '../src/conformance/database.ts';
import {
  distributedLocks,
  type LockAsk,
  type LockGrant,
  type LockPlace,
  sqlLockStore,
  TOKENS_PER_GRANT,
} from '../src/index.ts';
import type { HolderMessage } from './lock-holder.ts';
import { type LockPool, type LockPoolOptions, lockPool } from './lock-pools.ts';
import { countRoundTrips } from './round-trips.ts';
import { openStore, type Store, storeAt } from './stores.ts';

/** Longer than any test: whatever ends before it was not ended by it. */
const LEASE_MS = 100_000;
/** MySQL counts whole seconds. */
const SHORT_LEASE_MS = 1_000;

const ASK = { leaseMs: LEASE_MS, wait: true };
const NO_WAIT = { leaseMs: LEASE_MS, wait: false };

const IDLE_LIMIT = {
  postgres: `SELECT current_setting('idle_session_timeout') AS idle`,
  mysql: 'SELECT @@SESSION.wait_timeout AS idle',
};

let store: Store;
const pools: LockPool[] = [];
const places: LockPlace[] = [];
let keys = 0;

const newKey = () => `order ${++keys}`;

/** Of a process of its own, as far as the database can tell. */
function newPool(options?: LockPoolOptions, url = store.url): LockPool {
  const pool = lockPool(url, options);
  pools.push(pool);
  return pool;
}

/** It is given up after the test, with what was granted to it. */
function stand(pool: LockPool, key: string, ask: LockAsk = ASK): LockPlace {
  const place = pool.store.queue(key, ask);
  places.push(place);
  return place;
}

async function take(pool: LockPool, key: string, ask = ASK): Promise<LockGrant> {
  return held(await stand(pool, key, ask).granted);
}

function held(grant: LockGrant | undefined): LockGrant {
  if (grant === undefined) throw new Error('the lock was not granted');
  return grant;
}

/** Queues, and resolves when the server knows of one more who waits. */
async function queue(pool: LockPool, key: string, ask: LockAsk = ASK): Promise<LockPlace> {
  const before = new Set(await waiters());
  const place = stand(pool, key, ask);
  await until(async () => (await waiters()).some((id) => !before.has(id)));
  return place;
}

async function waiting(): Promise<number> {
  return Number((await store.query(SESSIONS_WAITING[store.kind])).rows[0]?.n);
}

/** The session that has the lock on `key`. */
async function holderOf(key: string): Promise<number | undefined> {
  const digest = createHash('sha256')
    .update(JSON.stringify(['pawl', key]))
    .digest();
  const [text, name] =
    store.kind === 'mysql'
      ? ['SELECT IS_USED_LOCK(?) AS id', `pawl:${digest.toString('hex', 0, 20)}`]
      : [
          `SELECT pid AS id FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND (classid::bigint << 32 | objid::bigint) = ?::bigint`,
          String(digest.readBigInt64BE()),
        ];
  const id = (await store.query(text, name)).rows[0]?.id;
  return id == null ? undefined : Number(id);
}

/** Sessions that wait for a lock, by their ids. */
async function waiters(): Promise<number[]> {
  const text =
    store.kind === 'postgres'
      ? `SELECT pid AS id FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
           WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`
      : `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'`;
  return (await store.query(text)).rows.map(({ id }) => Number(id));
}

async function exists(session: number): Promise<boolean> {
  const text =
    store.kind === 'postgres'
      ? 'SELECT 1 FROM pg_stat_activity WHERE pid = ?'
      : 'SELECT 1 FROM information_schema.processlist WHERE id = ?';
  return (await store.query(text, session)).rows.length > 0;
}

/** Whether the pool can lend all its connections: none was lost. */
async function expectAllFree(pool: LockPool, connections: number): Promise<void> {
  const all = await together(connections, () => take(pool, newKey()));
  for (const grant of all) expect(await grant.release()).toBe(true);
}

async function idleLimit(pool: LockPool): Promise<unknown> {
  const session = await pool.sessions.session();
  const { rows } = await session.execute({ text: IDLE_LIMIT[store.kind], values: [] });
  session.release();
  return rows[0]?.idle;
}

/** A process that takes the lock, or waits for it. It ends with the test. */
function startHolder(key: string, leaseMs: number): ChildProcess {
  const args = ['--url', store.url, '--key', key, '--lease-ms', String(leaseMs)];
  const child = fork(join(import.meta.dirname, 'lock-holder.ts'), args);
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return child;
}

/** A process that holds the lock when this resolves. */
async function holdElsewhere(key: string, leaseMs: number): Promise<ChildProcess> {
  const child = startHolder(key, leaseMs);
  await heard(child, 'held');
  return child;
}

/** Resolves when it has told so for the `times`th time. */
function heard(child: ChildProcess, what: HolderMessage, times = 1): Promise<void> {
  return new Promise((resolve) => {
    let heard = 0;
    child.on('message', (message) => {
      if (message === what && ++heard === times) resolve();
    });
  });
}

/** Sessions of this database but the store's own: most that there were while `work` ran. */
async function mostSessions(work: () => Promise<unknown>): Promise<number> {
  const text =
    store.kind === 'postgres'
      ? `SELECT COUNT(*) AS n FROM pg_stat_activity
           WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`
      : `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`;
  let working = true;
  let most = 0;
  const counting = async () => {
    while (working) most = Math.max(most, Number((await store.query(text)).rows[0]?.n));
  };
  const counted = counting();
  await work().finally(() => {
    working = false;
  });
  await counted;
  return most;
}

async function endPools(): Promise<void> {
  for (const place of places.splice(0)) await place.leave();
  for (const pool of pools.splice(0)) await pool.close();
  await store.endSessions();
}

describe.each(['postgres', 'mariadb'] as const)('locks of sessions: %s', (name) => {
  beforeAll(async () => {
    store = await openStore(name);
    await store.query('CREATE TABLE stock (id int PRIMARY KEY, n int NOT NULL)');
    await store.query('INSERT INTO stock VALUES (1, 0)');
  });
  afterEach(endPools);
  afterAll(() => store.close());

  describe('one at a time', () => {
    const SECTIONS = 20;

    async function readAndWrite(betweenThem: () => Promise<void>): Promise<void> {
      const session = await store.connect();
      const { rows } = await session.query('SELECT n FROM stock');
      await betweenThem();
      await session.query('UPDATE stock SET n = ?', Number(rows[0]?.n) + 1);
    }
    const counted = async () => Number((await store.query('SELECT n FROM stock')).rows[0]?.n);
    const reset = () => store.query('UPDATE stock SET n = 0');

    test('without a lock, who reads and writes loses the update of another', async () => {
      await reset();
      const bothHaveRead = barrier(2);
      await together(2, () => readAndWrite(bothHaveRead));
      expect(await counted()).toBe(1);
    });

    test('with one, nobody does, and every grant has tokens that are greater than all before', async () => {
      await reset();
      const key = newKey();
      const processes = [newPool(), newPool()];
      const tokens: number[] = [];
      await together(SECTIONS, async (index) => {
        const grant = await take(processes[index % 2] as LockPool, key);
        tokens.push(grant.firstToken);
        await readAndWrite(async () => undefined);
        expect(await grant.release()).toBe(true);
      });
      expect(await counted()).toBe(SECTIONS);
      for (const [index, token] of tokens.entries()) {
        expect(Number.isSafeInteger(token)).toBe(true);
        if (index > 0) expect(token).toBeGreaterThanOrEqual((tokens[index - 1] ?? 0) + TOKENS_PER_GRANT);
      }
    });

    test('other keys, and other namespaces, are other locks', async () => {
      const pool = newPool();
      const key = newKey();
      await take(pool, key);
      await take(pool, `${key} `);
      await take(pool, key.toUpperCase());
      const other = sqlLockStore(pool.sessions, { namespace: 'other' }).queue(key, NO_WAIT);
      places.push(other);
      expect(await other.granted).toBeDefined();
      expect(await stand(pool, key, NO_WAIT).granted).toBeUndefined();
    });

    test('over distributedLocks too: two processes, many who want it', async () => {
      await reset();
      const processes = [newPool(), newPool()].map((pool) => distributedLocks(pool.store));
      const key = newKey();
      await together(SECTIONS, (index) =>
        (processes[index % 2] as (typeof processes)[0]).run(key, () => readAndWrite(async () => undefined)),
      );
      expect(await counted()).toBe(SECTIONS);
      for (const locks of processes) await locks.close();
    });
  });

  describe('the queue', () => {
    test('is served in the order in which they came', async () => {
      const key = newKey();
      const first = await take(newPool(), key);
      const order: string[] = [];
      const served: Promise<void>[] = [];
      for (const who of ['second', 'third', 'fourth']) {
        const place = await queue(newPool(), key);
        const serve = async () => {
          const grant = held(await place.granted);
          order.push(who);
          await grant.release();
        };
        served.push(serve());
      }
      await first.release();
      await Promise.all(served);
      expect(order).toEqual(['second', 'third', 'fourth']);
    });

    test('has who gives back and queues again at its end, on the same session', async () => {
      const key = newKey();
      const first = await take(newPool(), key);
      const session = await holderOf(key);
      const second = await queue(newPool(), key);
      const third = await queue(newPool(), key);
      const again = first.releaseAndQueue();
      expect(await again.released).toBe(true);
      await until(async () => (await waiters()).includes(Number(session)));
      const order: string[] = [];
      const serve = async (who: string, place: LockPlace) => {
        const grant = held(await place.granted);
        order.push(who);
        await grant.release();
      };
      await Promise.all([serve('again', again), serve('third', third), serve('second', second)]);
      expect(order).toEqual(['second', 'third', 'again']);
    });

    test('is not joined by who does not wait', async () => {
      const key = newKey();
      const pool = newPool();
      const grant = await take(pool, key);
      expect(await stand(newPool(), key, NO_WAIT).granted).toBeUndefined();
      expect(await waiting()).toBe(0);
      await grant.release();
      expect(await take(newPool(), key, NO_WAIT)).toBeDefined();
    });

    test('goes on without who leaves, whose session ends while the lock is still held', async () => {
      const key = newKey();
      const holder = await take(newPool(), key);
      const [pool, patient] = [newPool({ connections: 2 }), newPool()];
      const leaving = await queue(pool, key);
      const [session] = await waiters();
      const next = await queue(patient, key);
      await leaving.leave();
      await until(async () => !(await exists(Number(session))));
      expect(await waiting()).toBe(1);
      expect(await holderOf(key)).toBeDefined();
      await expectAllFree(pool, 2);
      await holder.release();
      expect(await held(await next.granted).release()).toBe(true);
    });

    const IMPATIENT = { waitMs: 50 };
    const KEYS = 8;
    const ROUNDS = 20;

    test('is left again and again without more sessions than the pools have connections', async () => {
      const keys = Array.from({ length: KEYS }, newKey);
      const holder = newPool({ connections: KEYS });
      for (const key of keys) await take(holder, key);
      const processes = [newPool({ connections: 10 }), newPool({ connections: 10 })].map((pool) =>
        distributedLocks(pool.store, IMPATIENT),
      );
      const waits = async () => {
        for (let round = 0; round < ROUNDS; round++) {
          await together(2 * KEYS, async (index) => {
            const locks = processes[index % 2] as (typeof processes)[0];
            const outcome = await locks.run(keys[index >> 1] ?? '', async () => 'had it');
            expect(outcome).toMatchObject({ outcome: 'refused', reason: 'lock-timeout' });
          });
        }
      };
      expect(await mostSessions(waits)).toBeLessThanOrEqual(KEYS + 20 + 1);
      for (const locks of processes) await locks.close();
    });

    test('is left long before the wait would end, and the pool counts the session until it is gone', async () => {
      const key = newKey();
      await take(newPool({ connections: 1 }), key);
      const pool = newPool({ connections: 2 });
      const leaves = async () => {
        for (let time = 0; time < 4; time++) {
          const place = await queue(pool, key, { ...ASK, waitMs: LEASE_MS });
          await place.leave();
        }
        await expectAllFree(pool, 2);
      };
      // A pool of mysql2 forgets a connection that is cut.
      const most = await mostSessions(leaves);
      if (store.kind === 'postgres') expect(most).toBeLessThanOrEqual(1 + 2 + 1);
    });

    test('keeps who waits for longer than a statement of his, on the same session', async () => {
      const key = newKey();
      const grant = await take(newPool(), key);
      const pool = newPool({ connections: 1 });
      const place = await queue(pool, key, { ...ASK, ...IMPATIENT });
      const [session] = await waiters();
      const next = await queue(newPool(), key);
      await store.query(store.kind === 'postgres' ? 'SELECT pg_sleep(0.5)' : 'SELECT SLEEP(0.5)');
      expect(place.trouble).toBeUndefined();
      await grant.release();
      await held(await next.granted).release();
      const again = held(await place.granted);
      expect(await holderOf(key)).toBe(session);
      expect(await again.release()).toBe(true);
    });

    test('gives back what is granted to who has left meanwhile', async () => {
      const key = newKey();
      const grant = await take(newPool(), key);
      const pool = newPool({ connections: 1 });
      const place = await queue(pool, key, { ...ASK, waitMs: 900 });
      const [session] = await waiters();
      await place.leave();
      expect(await exists(Number(session))).toBe(true);
      await grant.release();
      await until(async () => (await holderOf(key)) === undefined);
      expect(await (await take(newPool(), key)).release()).toBe(true);
      await expectAllFree(pool, 1);
      expect(await exists(Number(session))).toBe(true);
    });

    test('never grants anything to who has left, also before he had a connection', async () => {
      const key = newKey();
      const pool = newPool({ connections: 1 });
      const holder = await take(pool, newKey());
      const left = stand(pool, key, ASK);
      let settled = false;
      left.granted.finally(() => {
        settled = true;
      });
      await left.leave();
      await holder.release();
      await expectAllFree(pool, 1);
      expect(await holderOf(key)).toBeUndefined();
      expect(settled).toBe(false);
    });

    test('gives up the lock of who leaves when it was granted', async () => {
      const key = newKey();
      const pool = newPool({ connections: 1 });
      const place = stand(pool, key, ASK);
      await place.granted;
      await place.leave();
      expect(await holderOf(key)).toBeUndefined();
      await expectAllFree(pool, 1);
    });

    test.each(['SIGKILL', 'SIGSTOP'] as const)('goes on without a waiter who gets %s', async (signal) => {
      const key = newKey();
      const grant = await take(newPool(), key);
      const waiter = startHolder(key, SHORT_LEASE_MS);
      await until(async () => (await waiting()) === 1);
      const next = await queue(newPool(), key);
      waiter.kill(signal);
      await grant.release();
      expect(await held(await next.granted).release()).toBe(true);
    });

    test('has who was thrown out at its end again', async () => {
      const key = newKey();
      const holder = await take(newPool(), key);
      const place = await queue(newPool(), key);
      const [session] = await waiters();
      await store.kill(Number(session));
      await until(async () => {
        const [now] = await waiters();
        return now !== undefined && now !== session;
      });
      await holder.release();
      expect(await held(await place.granted).release()).toBe(true);
    });

    test('goes on for a statement that an operator has ended', async () => {
      const key = newKey();
      const holder = await take(newPool(), key);
      const place = await queue(newPool(), key);
      const [session] = await waiters();
      await store.query(
        store.kind === 'postgres' ? 'SELECT pg_cancel_backend(?)' : `KILL QUERY ${session}`,
        ...(store.kind === 'postgres' ? [Number(session)] : []),
      );
      await until(async () => {
        const [now] = await waiters();
        return now !== undefined && now !== session;
      });
      await holder.release();
      expect(await held(await place.granted).release()).toBe(true);
    });
  });

  describe('a holder', () => {
    test('that stands still loses the lock with its lease, and hears of it', async () => {
      const key = newKey();
      const child = await holdElsewhere(key, SHORT_LEASE_MS);
      const place = await queue(newPool(), key);
      const session = await holderOf(key);
      // Two leases long.
      await heard(child, 'renewed', 8);
      expect(await holderOf(key)).toBe(session);
      child.kill('SIGSTOP');
      const grant = held(await place.granted);
      const lost = heard(child, 'lost');
      child.kill('SIGCONT');
      await lost;
      expect(await grant.release()).toBe(true);
    });

    test('that is killed gives it up at once', async () => {
      const key = newKey();
      const child = await holdElsewhere(key, LEASE_MS);
      const place = await queue(newPool(), key);
      child.kill('SIGKILL');
      expect(await held(await place.granted).release()).toBe(true);
    });

    test('whose session the server ends is told at once, and holds nothing any more', async () => {
      const key = newKey();
      const pool = newPool({ connections: 1 });
      const grant = await take(pool, key);
      const told = Promise.withResolvers<unknown>();
      let times = 0;
      grant.onLost((cause) => {
        times++;
        told.resolve(cause);
      });
      await store.kill(Number(await holderOf(key)));
      expect(await told.promise).toBeInstanceOf(Error);
      expect(await grant.renew()).toBe(false);
      expect(await grant.release()).toBe(false);
      await expectAllFree(pool, 1);
      expect(times).toBe(1);
    });

    test('that listens too late is told as well', async () => {
      const key = newKey();
      const grant = await take(newPool(), key);
      await store.kill(Number(await holderOf(key)));
      await until(async () => !(await grant.renew().catch(() => false)));
      await new Promise<unknown>((resolve) => grant.onLost(resolve));
    });

    test('gives it back once', async () => {
      const key = newKey();
      const grant = await take(newPool(), key);
      const place = await queue(newPool(), key);
      expect(await grant.release()).toBe(true);
      expect(await grant.release()).toBe(false);
      expect(await grant.renew()).toBe(false);
      const next = held(await place.granted);
      expect(await next.renew()).toBe(true);
    });

    test('that is not answered within its lease has lost it', async () => {
      const proxy = await startProxy(store.url);
      onTestFinished(() => proxy.close());
      const key = newKey();
      const grant = await take(newPool({ port: proxy.port }), key, { leaseMs: SHORT_LEASE_MS, wait: true });
      const told = new Promise((resolve) => grant.onLost(resolve));
      proxy.fallSilent();
      await expect(grant.renew()).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
      await told;
      expect(await grant.release()).toBe(false);
    });

    test('whose link has fallen silent before is asked again over another, also by who does not want to wait', async () => {
      const proxy = await startProxy(store.url);
      onTestFinished(() => proxy.close());
      // A pool of PostgreSQL still counts the one that was cut.
      const connections = store.kind === 'postgres' ? 2 : 1;
      const pool = newPool({ port: proxy.port, connections, acquireTimeoutMs: 500 });
      for (const ask of [ASK, NO_WAIT]) {
        const key = newKey();
        await idleLimit(pool);
        const before = proxy.connections();
        proxy.fallSilent();
        proxy.speakAgain();
        const grant = await take(pool, key, { ...ask, leaseMs: SHORT_LEASE_MS });
        expect(proxy.connections()).toBe(before + 1);
        expect(await grant.release()).toBe(true);
      }
      await idleLimit(pool);
      const locks = distributedLocks(pool.store, { leaseMs: SHORT_LEASE_MS, waitMs: 0 });
      proxy.fallSilent();
      await expect(locks.run(newKey(), async () => undefined)).rejects.toMatchObject({
        code: 'CONNECTION_LOST',
        effect: 'unknown',
      });
      await proxy.close();
      // Nor does the pool hope for the connection that it has begun to open.
      await expect(pool.sessions.session()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });

    test('queues again on another session where its own has ended', async () => {
      const key = newKey();
      const pool = newPool({ connections: 1 });
      const grant = await take(pool, key);
      const session = await holderOf(key);
      await store.kill(Number(session));
      const place = grant.releaseAndQueue();
      await Promise.allSettled([place.released]);
      const again = held(await place.granted);
      expect(await holderOf(key)).not.toBe(session);
      expect(await again.release()).toBe(true);
    });

    test('renews only its own lock', async () => {
      const pool = newPool();
      const [one, other] = await together(2, () => pool.sessions.session());
      if (one === undefined || other === undefined) throw new Error('no sessions');
      const lock = { digest: randomBytes(32), leaseMs: LEASE_MS };
      const { sessionLock } = one.dialect;
      await sessionLock.take(one, { ...lock, wait: true });
      expect(await sessionLock.renew(one, lock)).toBe(true);
      expect(await sessionLock.renew(other, lock)).toBe(false);
      expect(await sessionLock.release(other, lock)).toBe(false);
      for (const session of [one, other]) session.cut();
    });
  });

  describe('the session', () => {
    test('is lent again with the idle limit that it had, however the lock was given back', async () => {
      const pool = newPool({ connections: 1 });
      const usual = await idleLimit(pool);
      const key = newKey();
      const ends = [
        (grant: LockGrant) => grant.release(),
        async (grant: LockGrant) => {
          const again = grant.releaseAndQueue();
          await held(await again.granted).release();
        },
        async (grant: LockGrant) => {
          await grant.releaseAndQueue().leave();
        },
      ];
      for (const end of ends) {
        const grant = await take(pool, key, { leaseMs: 42_000, wait: true });
        await end(grant);
        expect(await idleLimit(pool)).toBe(usual);
      }
      const holder = await take(newPool(), key);
      expect(await stand(pool, key, NO_WAIT).granted).toBeUndefined();
      expect(await idleLimit(pool)).toBe(usual);
      await holder.release();
    });

    test('that is idle in the pool may be ended by the server, and the next lock opens another', async () => {
      const pool = newPool({ connections: 1 });
      const key = newKey();
      const grant = await take(pool, key);
      const session = Number(await holderOf(key));
      await grant.release();
      await store.kill(session);
      await until(async () => !(await exists(session)));
      expect(await held(await stand(pool, key, ASK).granted).release()).toBe(true);
    });

    test('waits for its turn, whatever limits its user has for statements', async () => {
      const user = { name: `limited_${randomBytes(4).toString('hex')}`, password: 'p' };
      await limitedUser(user);
      const key = newKey();
      const holder = await take(newPool(), key);
      const place = await queue(newPool({ user }), key);
      const [session] = await waiters();
      // The same wait without the store: the limit ends it.
      const bare = await newPool({ user }).sessions.session();
      const text = store.kind === 'postgres' ? 'SELECT pg_sleep(10)' : 'SELECT SLEEP(10)';
      // Twice, which is longer than each of its limits.
      for (let time = 0; time < 2; time++) {
        const asleep = bare.execute({ text, values: [] });
        await expect(asleep).rejects.toMatchObject({ code: 'STATEMENT_CANCELED' });
      }
      bare.cut();
      expect(await waiters()).toEqual([session]);
      await holder.release();
      expect(await held(await place.granted).release()).toBe(true);
    });

    async function limitedUser({ name, password }: { name: string; password: string }): Promise<void> {
      if (store.kind === 'postgres') {
        await store.query(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'`);
        for (const limit of ['statement_timeout', 'lock_timeout', 'transaction_timeout']) {
          await store.query(
            `ALTER ROLE ${name} SET ${limit} = '${limit === 'transaction_timeout' ? 900 : 700}ms'`,
          );
        }
        onTestFinished(async () => {
          await endPools();
          await store.query(`DROP ROLE ${name}`);
        });
      } else {
        await store.query(
          `CREATE USER ${name}@127.0.0.1 IDENTIFIED BY '${password}' WITH MAX_STATEMENT_TIME 0.7`,
        );
        await store.query(`GRANT ALL ON *.* TO ${name}@127.0.0.1`);
        onTestFinished(async () => {
          await store.query(`DROP USER ${name}@127.0.0.1`);
        });
      }
    }

    test('is free again after a thousand keys, and nothing is left of them on the server', async () => {
      const KEYS = 1_000;
      const pool = newPool({ connections: 8 });
      const used = Array.from({ length: KEYS }, newKey);
      const todo = [...used];
      await together(8, async () => {
        for (let key = todo.pop(); key !== undefined; key = todo.pop()) {
          expect(await (await take(pool, key)).release()).toBe(true);
        }
      });
      const locks = SESSION_LOCKS[store.kind];
      if (locks !== undefined) expect(Number((await store.query(locks)).rows[0]?.n)).toBe(0);
      else {
        for (const key of used) expect(await holderOf(key)).toBeUndefined();
      }
      await expectAllFree(pool, 8);
    });

    test(`costs ${name === 'postgres' ? 'two' : 'four'} round trips for a lock`, async () => {
      const server = await countRoundTrips(store.url);
      onTestFinished(() => server.close());
      const pool = newPool({ port: server.port, connections: 1 });
      const once = async () => (await take(pool, newKey())).release();
      await once();
      await idleLimit(pool);
      const before = server.trips();
      for (let time = 0; time < 10; time++) await once();
      // Only when the last has been put back.
      await idleLimit(pool);
      expect(server.trips() - before).toBe(10 * (name === 'postgres' ? 2 : 4) + 1);
    });
  });

  test('a server that is not there is an error at once, and nobody stands in line', async () => {
    const nobody = await startProxy(store.url);
    const { port } = nobody;
    await nobody.close();
    const pool = newPool({ port });
    const place = stand(pool, newKey(), ASK);
    await expect(place.granted).rejects.toMatchObject({ code: 'UNAVAILABLE', effect: 'none' });
    await place.leave();
  });
});

describe.each([
  ['postgres', newPostgresServer],
  ['mariadb', newMariadbServer],
] as const)('a server that ends and comes back: %s', (_, newServer) => {
  test('tells the holder, and serves who has waited since before', async () => {
    const server = await newServer();
    store = await storeAt(server.url);
    onTestFinished(() => store.close());
    const key = newKey();
    const pool = newPool();
    const grant = await take(pool, key);
    const place = await queue(newPool(), key);
    const lost = new Promise((resolve) => grant.onLost(resolve));
    await server.kill();
    await lost;
    await until(() => place.trouble !== undefined);
    await expect(stand(pool, key, ASK).granted).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await server.start('kept');
    const next = held(await place.granted);
    expect(place.trouble).toBeUndefined();
    expect(next.firstToken).toBeGreaterThan(grant.firstToken);
    expect(await grant.release()).toBe(false);
    expect(await next.release()).toBe(true);
    await store.reconnect();
    await endPools();
  });
});
