import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { ioredisPort, ioredisSubscriber } from '../src/adapters/ioredis.ts';
import {
  claimUnique,
  conditionalUpdate,
  type DurableCallDefinition,
  distributedLocks,
  done,
  durableCalls,
  fencedUpdate,
  groupedClaims,
  groupedIdempotencyStore,
  groupedUpdates,
  type IdempotencyStore,
  idempotencyKeys,
  type LockStore,
  lockAvailableRows,
  memoryIdempotencyStore,
  memoryLockStore,
  migrate,
  pawlTables,
  redisIdempotencyStore,
  redisLockStore,
  refused,
  registerFence,
  releaseClaim,
  renewClaim,
  type SqlPort,
  type SqlTransaction,
  sqlDurableCallStore,
  sqlIdempotencyStore,
  stock,
  sweepClaims,
  transact,
  transactionalIdempotencyKeys,
  verifyVersion,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { newRequest } from './idempotency-stores.ts';
import { type LockPool, lockPool } from './lock-pools.ts';
import { countRoundTrips } from './round-trips.ts';
import { type Store, storeAt } from './stores.ts';

/** What one call costs. */
export interface Cost {
  readonly trips: number;
  /** Transactions that wrote something and were committed: those that a durable server syncs for. */
  readonly commits: number;
}

/** Guard → what came of it → what that cost. */
export type Costs = Readonly<Record<string, Readonly<Record<string, Cost>>>>;

/** Prepares a call, which is not counted. The call answers in the words of an outcome; they must be `words`. */
type Case = readonly [words: string, prepare: () => Promise<() => Promise<unknown>>];

type Cases = Readonly<Record<string, Readonly<Record<string, Case>>>>;

/** How often each call is counted. Once more before: the driver prepares its statements, and Redis learns its scripts. */
const COUNTED = 3;

/** @throws when a call does not always cost the same, or does not end as its case says. */
async function count(cases: Cases, read: () => Promise<Cost>): Promise<Costs> {
  const costs: Record<string, Record<string, Cost>> = {};
  for (const [guard, outcomes] of Object.entries(cases)) {
    costs[guard] = {};
    for (const [name, [words, prepare]] of Object.entries(outcomes)) {
      const seen = new Set<string>();
      for (let counted = 0; counted <= COUNTED; counted++) {
        const call = await prepare();
        const before = await read();
        const ended = wordsOf(await call());
        const after = await read();
        if (ended !== words) throw new Error(`${guard}, ${name}: ${ended}`);
        const cost = { trips: after.trips - before.trips, commits: after.commits - before.commits };
        if (counted > 0) seen.add(JSON.stringify(cost));
      }
      const [cost, ...others] = seen;
      if (cost === undefined || others.length > 0) throw new Error(`${guard}, ${name}: ${[...seen]}`);
      costs[guard][name] = JSON.parse(cost);
    }
  }
  return costs;
}

function wordsOf(ended: unknown): string {
  if (typeof ended !== 'object' || ended === null) return String(ended);
  if ('reason' in ended) return String(ended.reason);
  if ('replayed' in ended && ended.replayed) return 'replayed';
  return 'outcome' in ended ? String(ended.outcome) : 'nothing';
}

/** Counts on a server that nobody else uses, through one connection. */
export async function sqlCosts(url: string): Promise<Costs> {
  const store = await storeAt(url);
  const server = await countRoundTrips(url);
  const locks = lockPool(url, { connections: 1, port: server.port });
  try {
    const committed = await commitCounter(store);
    const plain = store.open({ connections: 2 });
    const counted = store.open({ connections: 1, port: server.port });
    const shared = store.open({ connections: 1, port: server.port, over: 'together', forGroups: true });
    await migrate(plain);
    await store.query(
      'CREATE TABLE ticket (id integer PRIMARY KEY, status varchar(10), version integer, fence bigint)',
    );
    await store.query('CREATE TABLE bill (ticket_id integer)');
    await store.query('CREATE TABLE coupon (id integer PRIMARY KEY, remaining integer)');
    await store.query('INSERT INTO coupon VALUES (1, 1000)');
    await store.query('CREATE TABLE issued (coupon integer, member integer, PRIMARY KEY (coupon, member))');
    const cases = {
      ...sqlCases(counted, shared, plain, store),
      'distributed lock, sessions of the database': lockCases(locks.store, () => isIdle(locks)),
    };
    return await count(cases, async () => ({
      trips: server.trips(),
      commits: await committed(),
    }));
  } finally {
    await locks.close();
    await store.close();
    await server.close();
  }
}

/**
 * So far, in the whole server; what its housekeeping commits is switched off. InnoDB also counts those that wrote and were
 * rolled back, so there is no such case.
 */
async function commitCounter({ kind, query }: Store): Promise<() => Promise<number>> {
  if (kind === 'mysql') {
    await query('SET GLOBAL innodb_stats_auto_recalc = OFF');
    await query(`SET GLOBAL innodb_monitor_enable = 'trx_commits_insert_update'`);
    return async () => {
      const { rows } = await query(
        `SELECT count FROM information_schema.INNODB_METRICS WHERE name = 'trx_commits_insert_update'`,
      );
      return Number(rows[0]?.count);
    };
  }
  await query('ALTER SYSTEM SET autovacuum = off');
  await query('SELECT pg_reload_conf()');
  const nextId = async () => {
    const { rows } = await query('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next');
    return Number(rows[0]?.next);
  };
  const first = await nextId();
  return async () => {
    const { rows } = await query(
      `SELECT count(*) AS committed FROM generate_series(${first}, ${(await nextId()) - 1}) AS id
       WHERE pg_xact_status(id::text::xid8) = 'committed'`,
    );
    return Number(rows[0]?.committed);
  };
}

let tickets = 0;

let claimants = 0;

const stockOf = (sql: SqlPort) =>
  stock(
    sql,
    {
      rows: { table: 'coupon', key: 'id', columns: ['remaining'] },
      claims: { table: 'issued', stock: 'coupon', claimant: 'member', columns: [] },
      take: ({ row, claimed }) =>
        claimed
          ? refused('already-issued')
          : done({ set: { remaining: Number(row.remaining) - 1 }, claim: {}, value: undefined }),
      recall: () => refused('already-issued'),
    },
    { name: 'coupons' },
  );

interface Ticket {
  readonly table: string;
  readonly key: { readonly id: number };
}

function sqlCases(sql: SqlPort, shared: SqlPort, plain: SqlPort, store: Store): Cases {
  const execute = (session: Pick<SqlPort, 'execute'>, text: string) => session.execute({ text, values: [] });
  const newTicket = async (status = 'WAITING') => {
    tickets++;
    await execute(plain, `INSERT INTO ticket VALUES (${tickets}, '${status}', 0, 0)`);
    return { table: 'ticket', key: { id: tickets } };
  };
  const take = { expect: { status: 'WAITING' }, set: { status: 'PENDING' } };

  const version = { column: 'version', value: 0 };
  const changed = (ticket: Awaited<ReturnType<typeof newTicket>>) =>
    conditionalUpdate(plain, { ...ticket, ...take, increment: 'version' });
  const readFirst = (transaction: SqlTransaction, { key }: { key: { id: number } }) =>
    execute(transaction, `SELECT status, version FROM ticket WHERE id = ${key.id}`);

  const lock = { columns: ['version'], expect: { status: 'WAITING' } };
  const lockAndChange = (ticket: Awaited<ReturnType<typeof newTicket>>, waitMs: number) => () =>
    withRowLock(sql, { ...ticket, ...lock, waitMs }, async (_, transaction) => {
      await execute(transaction, `UPDATE ticket SET status = 'SOLD' WHERE id = ${ticket.key.id}`);
      return done(undefined);
    });

  const expiry = { column: 'expires_at', leaseMs: 60_000 };
  const newClaim = () => ({ table: pawlTables().claim, key: { claim_key: randomUUID() } });
  const values = { owner: 'me' };
  const others = { owner: 'somebody else' };
  const claimed = async (as: Pick<typeof expiry, 'column' | 'leaseMs'> | undefined, owner = others) => {
    const claim = newClaim();
    await claimUnique(plain, { ...claim, values: owner, ...(as && { expiry: as }) });
    return claim;
  };
  const over = async (owner = others) => {
    const claim = await claimed(expiry, owner);
    const past =
      store.kind === 'postgres'
        ? `clock_timestamp() - interval '1 hour'`
        : 'UTC_TIMESTAMP(6) - INTERVAL 1 HOUR';
    await execute(
      plain,
      `UPDATE ${claim.table} SET expires_at = ${past} WHERE claim_key = '${claim.key.claim_key}'`,
    );
    return claim;
  };

  const leased = idempotencyCases(sqlIdempotencyStore(sql), sqlIdempotencyStore(plain));
  const grouped = idempotencyCases(() => groupedIdempotencyStore(shared), sqlIdempotencyStore(plain));
  const keys = idempotencyKeys(sqlIdempotencyStore(sql));
  const updates = groupedUpdates(shared, { name: 'tickets' });
  const claims = groupedClaims(shared, { name: 'claims' });
  const transactional = transactionalIdempotencyKeys(sql);
  const bill = (transaction: SqlTransaction) => execute(transaction, 'INSERT INTO bill VALUES (1)');

  return {
    'conditional update': {
      won: [
        'done',
        async () => {
          const ticket = await newTicket();
          return () => conditionalUpdate(sql, { ...ticket, ...take });
        },
      ],
      lost: [
        'wrong-state',
        async () => {
          const ticket = await newTicket('PENDING');
          return () => conditionalUpdate(sql, { ...ticket, ...take });
        },
      ],
    },
    'conditional update, in groups': {
      won: [
        'done',
        async () => {
          const ticket = await newTicket();
          return () => updates.update({ ...ticket, ...take });
        },
      ],
      lost: [
        'wrong-state',
        async () => {
          const ticket = await newTicket('PENDING');
          return () => updates.update({ ...ticket, ...take });
        },
      ],
    },
    'unique claim': {
      won: ['done', async () => () => claimUnique(sql, { ...newClaim(), values })],
      lost: [
        'in-progress',
        async () => {
          const claim = await claimed(undefined);
          return () => claimUnique(sql, { ...claim, values });
        },
      ],
      released: [
        'done',
        async () => {
          const claim = await claimed(undefined, values);
          return () => releaseClaim(sql, { ...claim, owner: values });
        },
      ],
    },
    'unique claim, in groups': {
      won: ['done', async () => () => claims.claim({ ...newClaim(), values })],
      lost: [
        'in-progress',
        async () => {
          const claim = await claimed(undefined);
          return () => claims.claim({ ...claim, values });
        },
      ],
    },
    stock: {
      won: ['done', async () => () => stockOf(shared).take({ stock: 1, claimant: ++claimants })],
      'has one already': [
        'already-issued',
        async () => {
          const one = { stock: 1, claimant: ++claimants };
          await stockOf(shared).take(one);
          return () => stockOf(shared).take(one);
        },
      ],
    },
    'unique claim that expires': {
      won: ['done', async () => () => claimUnique(sql, { ...newClaim(), values, expiry })],
      lost: [
        'in-progress',
        async () => {
          const claim = await claimed(expiry);
          return () => claimUnique(sql, { ...claim, values, expiry });
        },
      ],
      'taken over': [
        'done',
        async () => {
          const claim = await over();
          return () => claimUnique(sql, { ...claim, values, expiry });
        },
      ],
      renewed: [
        'done',
        async () => {
          const claim = await claimed(expiry, values);
          return () => renewClaim(sql, { ...claim, owner: values, expiry });
        },
      ],
      'each sweep': [
        '1',
        async () => {
          const { table } = await over();
          return () => sweepClaims(sql, { table, column: expiry.column, limit: 1_000 });
        },
      ],
    },
    'optimistic lock': {
      won: [
        'done',
        async () => {
          const ticket = await newTicket();
          return () =>
            transact(sql, async (transaction) => {
              await readFirst(transaction, ticket);
              return versionedUpdate(transaction, { ...ticket, version, set: { status: 'SOLD' } });
            });
        },
      ],
      'each lost attempt': [
        'contended',
        async () => {
          const ticket = await newTicket();
          await changed(ticket);
          return () =>
            transact(sql, async (transaction) => {
              await readFirst(transaction, ticket);
              return versionedUpdate(transaction, { ...ticket, version, set: { status: 'SOLD' } });
            });
        },
      ],
      'verified only': [
        'done',
        async () => {
          const ticket = await newTicket();
          return () =>
            transact(sql, async (transaction) => {
              await readFirst(transaction, ticket);
              return verifyVersion(transaction, { ...ticket, version });
            });
        },
      ],
    },
    'pessimistic lock': {
      won: ['done', async () => lockAndChange(await newTicket(), 1_000)],
      lost: ['wrong-state', async () => lockAndChange(await newTicket('SOLD'), 1_000)],
      'locked, with `waitMs: 0`': [
        'lock-timeout',
        async () => {
          await store.endSessions();
          const ticket = await newTicket();
          const holder = await store.connect();
          await holder.begin('READ COMMITTED');
          await holder.query(`SELECT id FROM ticket WHERE id = ${ticket.key.id} FOR UPDATE`);
          return lockAndChange(ticket, 0);
        },
      ],
    },
    'pessimistic lock, `SKIP LOCKED`': {
      'a batch': [
        'done',
        async () => {
          await store.endSessions();
          await newTicket('new');
          return () =>
            transact(sql, async (transaction) => {
              const rows = { table: 'ticket', expect: { status: 'new' }, columns: ['id'], orderBy: 'id' };
              await lockAvailableRows(transaction, { ...rows, limit: 10 });
              await execute(transaction, `UPDATE ticket SET status = 'old' WHERE status = 'new'`);
              return done(undefined);
            });
        },
      ],
    },
    fencing: {
      registered: [
        'done',
        async () => {
          const ticket = await newTicket();
          return () => registerFence(sql, { ...ticket, fence: { column: 'fence', token: 1 } });
        },
      ],
      'refused there': [
        'fenced',
        async () => {
          const ticket = await newTicket();
          await registerFence(plain, { ...ticket, fence: { column: 'fence', token: 2 } });
          return () => registerFence(sql, { ...ticket, fence: { column: 'fence', token: 1 } });
        },
      ],
      written: [
        'done',
        async () => {
          const fenced = { ...(await newTicket()), fence: { column: 'fence', token: 1 } };
          await registerFence(plain, fenced);
          return () => fencedUpdate(sql, { ...fenced, set: { status: 'SOLD' } });
        },
      ],
      'refused when it writes': [
        'fenced',
        async () => {
          const fenced = { ...(await newTicket()), fence: { column: 'fence', token: 1 } };
          await registerFence(plain, { ...fenced, fence: { column: 'fence', token: 2 } });
          return () => fencedUpdate(sql, { ...fenced, set: { status: 'SOLD' } });
        },
      ],
    },
    'idempotency key, leased, SQL': leased,
    'idempotency key, leased, in groups': grouped,
    'idempotency key, leased, with `completeIn`': {
      fresh: [
        'done',
        async () => () =>
          keys.run(newRequest({ key: randomUUID() }), (lease) =>
            transact(sql, async (transaction) => {
              await bill(transaction);
              return lease.completeIn(transaction, ANSWER);
            }),
          ),
      ],
    },
    'idempotency key, transactional': {
      fresh: [
        'done',
        async () => () =>
          transactional.run(newRequest({ key: randomUUID() }), async (transaction) => {
            await bill(transaction);
            return done(ANSWER);
          }),
      ],
      replayed: [
        'replayed',
        async () => {
          const request = newRequest({ key: randomUUID() });
          await transactionalIdempotencyKeys(plain).run(request, async () => done(ANSWER));
          return () => transactional.run(request, NEVER);
        },
      ],
    },
    'durable call': durableCallCases(sql, plain, newTicket),
  };
}

/** Each transaction has one statement of the caller's own. */
function durableCallCases(sql: SqlPort, plain: SqlPort, newTicket: () => Promise<Ticket>): Cases[string] {
  type Sends = 'done' | 'refused' | 'unknown';
  const move = (transaction: SqlTransaction, id: string, status: string, to: string) =>
    conditionalUpdate(transaction, {
      table: 'ticket',
      key: { id: Number(id) },
      expect: { status },
      set: { status: to },
    });
  const definition = (name: string, sends: Sends): DurableCallDefinition<SqlTransaction, null, null> => ({
    name,
    repeat: 'idempotent',
    send: async () => (sends === 'done' ? { outcome: sends, value: null } : { outcome: sends, code: 'CODE' }),
    lookUp: async () => ({ outcome: 'done', value: null }),
    async settle(transaction, { subject }) {
      await move(transaction, subject, 'PENDING', 'PAID');
      return done(ANSWER);
    },
    async release(transaction, { subject }) {
      await move(transaction, subject, 'PENDING', 'WAITING');
      return ANSWER;
    },
    forget: NEVER,
    compensation: {
      name: 'undo',
      send: async () => ({ outcome: 'done' }),
      lookUp: NEVER,
      began: NEVER,
      async ended(transaction, { subject }) {
        await move(transaction, subject, 'UNDOING', 'UNDONE');
        return ANSWER;
      },
    },
  });
  const over = (port: SqlPort, sends: Sends, name = 'pay') =>
    durableCalls(sqlDurableCallStore(port), definition(name, sends));
  const pay = ({ run }: ReturnType<typeof over>, ticket: Ticket) =>
    run(newRequest({ key: `pay ${ticket.key.id}` }), async (transaction) => {
      const subject = String(ticket.key.id);
      const claimed = await move(transaction, subject, 'WAITING', 'PENDING');
      return claimed.outcome === 'done' ? done({ subject, attempt: 1, request: null }) : claimed;
    });
  return {
    fresh: [
      'done',
      async () => {
        const ticket = await newTicket();
        return () => pay(over(sql, 'done'), ticket);
      },
    ],
    replayed: [
      'replayed',
      async () => {
        const ticket = await newTicket();
        await pay(over(plain, 'done'), ticket);
        return () => pay(over(sql, 'done'), ticket);
      },
    ],
    unknown: [
      'unknown',
      async () => {
        const ticket = await newTicket();
        return () => pay(over(sql, 'unknown'), ticket);
      },
    ],
    recovered: [
      '1',
      async () => {
        const name = randomUUID();
        await pay(over(plain, 'unknown', name), await newTicket());
        return () => over(sql, 'done', name).recover();
      },
    ],
    'each look that finds none': ['0', async () => () => over(sql, 'done', randomUUID()).recover()],
    compensated: [
      'done',
      async () => {
        const ticket = await newTicket();
        const subject = String(ticket.key.id);
        await pay(over(plain, 'done'), ticket);
        return () =>
          over(sql, 'done').compensate({ subject, attempt: 1 }, async (transaction) => {
            await move(transaction, subject, 'PAID', 'UNDOING');
            return done({ value: null });
          });
      },
    ],
  };
}

const ANSWER = { status: 200, body: Buffer.from('{"paid":true}') };
const NEVER = (): Promise<never> => Promise.reject(new Error('the work ran'));

/** By `store`, which is counted; prepared by `plain`, the same one past the counter. */
/** @param opened  Given anew for each call, where what came before has it try something else first. */
function idempotencyCases(
  opened: IdempotencyStore | (() => IdempotencyStore),
  plain: IdempotencyStore,
): Cases[string] {
  const store = () => (typeof opened === 'function' ? opened() : opened);
  const keysOf = () => idempotencyKeys(store());
  const fresh = () => newRequest({ key: randomUUID() });
  return {
    fresh: ['done', async () => () => keysOf().run(fresh(), async () => done(ANSWER))],
    replayed: [
      'replayed',
      async () => {
        const request = fresh();
        await idempotencyKeys(plain).run(request, async () => done(ANSWER));
        return () => keysOf().run(request, NEVER);
      },
    ],
    'in progress': [
      'in-progress',
      async () => {
        const request = fresh();
        await idempotencyKeys(plain, { leaseMs: 60_000 }).run(request, async () => ({ outcome: 'unknown' }));
        return () => keysOf().run(request, NEVER);
      },
    ],
    'work that refuses': [
      'declined',
      async () => () => keysOf().run(fresh(), async () => refused('declined')),
    ],
    'each renewal': [
      'true',
      async () => {
        const owner = randomUUID();
        const times = { leaseMs: 60_000, retentionMs: 60_000 };
        const id = { scope: '["member 1"]', key: randomUUID() };
        const claim = { ...id, mode: 'leased', fingerprint: 'ab'.repeat(32), owner, ...times } as const;
        await plain.claim(claim);
        return () => store().renew(id, owner, times);
      },
    ],
  };
}

/** @param settled  Resolves when nothing is under way any more that nobody waits for. */
function lockCases(store: LockStore, settled: () => Promise<unknown> = async () => undefined): Cases[string] {
  const locks = distributedLocks(store);
  const work = async () => {
    const outcome = await locks.run(randomUUID(), async () => done(undefined));
    await settled();
    return outcome;
  };
  return { 'taken and given back': ['done', async () => work] };
}

/** Its only connection can be had. */
async function isIdle({ sessions }: LockPool): Promise<void> {
  (await sessions.session()).release();
}

/** Redis commits nothing, and memory asks nobody. */
export async function otherCosts(redisUrl: string): Promise<Costs> {
  const server = await countRoundTrips(redisUrl);
  const { username, password } = new URL(redisUrl);
  const open = async (port: number) => {
    const redis = new Redis({
      host: '127.0.0.1',
      port,
      username,
      password,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      lazyConnect: true,
    });
    await redis.connect();
    return redis;
  };
  const [redis, plain] = [await open(server.port), await open(Number(new URL(redisUrl).port))];
  const limits = { commandTimeoutMs: 10_000 };
  const prefix = { prefix: `test-${randomUUID()}:` };
  const memory = memoryIdempotencyStore();
  const listener = plain.duplicate({ autoResubscribe: false });
  try {
    await listener.connect();
    const cases = {
      'idempotency key, leased, Redis': idempotencyCases(
        redisIdempotencyStore(ioredisPort(redis, limits), prefix),
        redisIdempotencyStore(ioredisPort(plain, limits), prefix),
      ),
      'idempotency key, leased, memory': idempotencyCases(memory, memory),
      'distributed lock, Redis': lockCases(
        redisLockStore(ioredisPort(redis, limits), ioredisSubscriber(listener), prefix),
      ),
      'distributed lock, memory': lockCases(memoryLockStore()),
    };
    return await count(cases, async () => ({ trips: server.trips(), commits: 0 }));
  } finally {
    for (const client of [redis, plain, listener]) client.disconnect();
    await server.close();
  }
}
