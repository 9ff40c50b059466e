import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { barrier } from '../../../test/barrier.ts';
import {
  claimUnique,
  conditionalUpdate,
  distributedLocks,
  done,
  type Fence,
  fencedUpdate,
  idempotencyKeys,
  lockAvailableRows,
  lockRow,
  memoryIdempotencyStore,
  memoryLockStore,
  migrate,
  type RowRef,
  refused,
  registerFence,
  releaseClaim,
  renewClaim,
  retryOnConflict,
  type SqlPort,
  type SqlTransaction,
  type StockDefinition,
  type StockRequest,
  StoreError,
  stock,
  sweepClaims,
  transactionalIdempotencyKeys,
  transactWithRetry,
  verifyFence,
  verifyVersion,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { answer, newRequest } from './idempotency-stores.ts';
import { openStore, type Store } from './stores.ts';
import { toldOf } from './telemetry.ts';

/*
 * Each guard with each of its outcomes, and what is told of it: the guard and its step, the outcome and why, and what is known of
 * the claim. Those of durable calls are in opentelemetry-durable-calls.test.ts.
 */

let database: Store;
let sql: SqlPort;
let ids = 0;

beforeAll(async () => {
  database = await openStore('postgres');
  sql = database.open();
  await migrate(sql);
  await database.query(
    `CREATE TABLE seat (id int PRIMARY KEY, state varchar(20) NOT NULL, version int NOT NULL, fence bigint NOT NULL)`,
  );
  await database.query(
    'CREATE TABLE lease (id int PRIMARY KEY, owner varchar(20) NOT NULL, lease_until timestamptz)',
  );
  await database.query('CREATE TABLE hall (id int PRIMARY KEY, seats int NOT NULL)');
  await database.query('CREATE TABLE guest (hall int, name varchar(20), PRIMARY KEY (hall, name))');
});

afterAll(() => database.close());

/** A seat that nobody has seen yet: free, version 0, fence 5. */
async function seat(): Promise<RowRef> {
  const id = ++ids;
  await database.query(`INSERT INTO seat VALUES (?, 'free', 0, 5)`, id);
  return { table: 'seat', key: { id } };
}

const nowhere = { table: 'nowhere', key: { id: 1 } };
const noSeat = { table: 'seat', key: { id: 0 } };
const lost = new StoreError('CONNECTION_LOST', 'unknown', 'the answer was lost');
const unknown = { outcome: 'unknown' } as const;
const throwing = async () => {
  throw new Error('the work threw');
};
const work = async () => done(answer('bill'));
const inTransaction = (use: (transaction: SqlTransaction) => Promise<unknown>) => sql.transaction(use);

/** What is done, and what is told of it. */
type Case = readonly [title: string, use: () => Promise<unknown>, told: readonly string[]];

function table(name: string, cases: readonly Case[]): void {
  describe(name, () => {
    test.each(cases)('%s', async (_, use, told) => {
      expect(await toldOf(use)).toEqual(told);
    });
  });
}

table('conditional update', [
  [
    'done',
    async () =>
      conditionalUpdate(sql, { ...(await seat()), expect: { state: 'free' }, set: { state: 'sold' } }),
    ['conditional-update done'],
  ],
  [
    'another state',
    async () =>
      conditionalUpdate(sql, { ...(await seat()), expect: { state: 'sold' }, set: { state: 'free' } }),
    ['conditional-update refused wrong-state'],
  ],
  [
    'what changes nothing',
    () => conditionalUpdate(sql, { ...noSeat, expect: { state: 'free' }, set: { state: 'free' } }),
    ['conditional-update failed MISUSE'],
  ],
  [
    'no such table',
    () => conditionalUpdate(sql, { ...nowhere, expect: {}, set: { state: 'sold' } }),
    ['conditional-update failed REJECTED'],
  ],
]);

const claimOf = (owner: string, leaseMs = 60_000) => ({
  table: 'lease',
  key: { id: ++ids },
  values: { owner },
  expiry: { column: 'lease_until', leaseMs },
});

/** A claim that somebody has; its lease ends `inSeconds`. */
async function held(inSeconds: number, owner = 'somebody') {
  const claim = claimOf('me');
  const until = new Date(Date.now() + 1_000 * inSeconds);
  await database.query('INSERT INTO lease VALUES (?, ?, ?)', claim.key.id, owner, until);
  return { ...claim, owner: { owner: 'me' } };
}

table('unique claim', [
  ['done', () => claimUnique(sql, claimOf('me')), ['unique-claim.claim done']],
  ['taken over', async () => claimUnique(sql, await held(-60)), ['unique-claim.claim done takeover']],
  [
    'held by another',
    async () => claimUnique(sql, await held(60)),
    ['unique-claim.claim refused in-progress'],
  ],
  ['a bad lease', () => claimUnique(sql, claimOf('me', 0)), ['unique-claim.claim failed MISUSE']],
  ['renewed', async () => renewClaim(sql, await held(60, 'me')), ['unique-claim.renew done']],
  ['renewed, another’s', async () => renewClaim(sql, await held(60)), ['unique-claim.renew refused fenced']],
  [
    'renewed, nobody’s',
    () => renewClaim(sql, { ...claimOf('me'), owner: {} }),
    ['unique-claim.renew failed MISUSE'],
  ],
  ['released', async () => releaseClaim(sql, await held(60, 'me')), ['unique-claim.release done']],
  [
    'released, another’s',
    async () => releaseClaim(sql, await held(60)),
    ['unique-claim.release refused fenced'],
  ],
  [
    'released, nobody’s',
    () => releaseClaim(sql, { ...claimOf('me'), owner: {} }),
    ['unique-claim.release failed MISUSE'],
  ],
  [
    'swept',
    () => sweepClaims(sql, { table: 'lease', column: 'lease_until', limit: 10 }),
    ['unique-claim.sweep done'],
  ],
  [
    'swept, none',
    () => sweepClaims(sql, { table: 'lease', column: 'lease_until', limit: 0 }),
    ['unique-claim.sweep failed MISUSE'],
  ],
]);

const at = (value: number) => ({ version: { column: 'version', value } });
const TWICE = { attempts: 2, backoffMs: 0, maxBackoffMs: 0, jitter: 0 };

/** Is contended `times` times, then done. */
function contended(times: number) {
  let tries = 0;
  return async () => (++tries > times ? done(tries) : refused('contended'));
}

table('optimistic lock', [
  [
    'done',
    async () => versionedUpdate(sql, { ...(await seat()), ...at(0), set: {} }),
    ['optimistic-lock.update done'],
  ],
  [
    'another version',
    async () => versionedUpdate(sql, { ...(await seat()), ...at(1), set: {} }),
    ['optimistic-lock.update refused contended'],
  ],
  [
    'no version',
    () => versionedUpdate(sql, { ...noSeat, ...at(0.5), set: {} }),
    ['optimistic-lock.update failed MISUSE'],
  ],
  [
    'verified',
    async () => {
      const row = await seat();
      await inTransaction((transaction) => verifyVersion(transaction, { ...row, ...at(0) }));
    },
    ['optimistic-lock.verify done'],
  ],
  [
    'verified, another version',
    () => inTransaction((transaction) => verifyVersion(transaction, { ...noSeat, ...at(0) })),
    ['optimistic-lock.verify refused contended'],
  ],
  [
    'verified, no version',
    () => inTransaction((transaction) => verifyVersion(transaction, { ...noSeat, ...at(0.5) })),
    ['optimistic-lock.verify failed MISUSE'],
  ],
  [
    'at the second try',
    () => transactWithRetry(sql, contended(1), TWICE),
    ['optimistic-lock.retry done attempt 2'],
  ],
  [
    'at no try',
    () => transactWithRetry(sql, contended(2), TWICE),
    ['optimistic-lock.retry refused contended attempt 2'],
  ],
  [
    'refused for another reason',
    () => retryOnConflict(async () => refused('sold-out')),
    ['optimistic-lock.retry refused sold-out attempt 1'],
  ],
  ['unknown', () => retryOnConflict(async () => unknown), ['optimistic-lock.retry unknown attempt 1']],
  [
    'a failure that is no conflict',
    () => retryOnConflict(() => Promise.reject(lost)),
    ['optimistic-lock.retry failed CONNECTION_LOST attempt 1'],
  ],
]);

const lockOf = (row: RowRef, waitMs = 0) => ({
  ...row,
  columns: ['state'],
  expect: { state: 'free' },
  waitMs,
});

/** Runs `use` while another session has the row. */
async function whileLocked(use: (row: RowRef) => Promise<unknown>): Promise<void> {
  const row = await seat();
  const session = await database.connect();
  await session.begin('READ COMMITTED');
  await session.query('SELECT id FROM seat WHERE id = ? FOR UPDATE', row.key.id as number);
  await use(row).finally(() => database.endSessions());
}

const available = { table: 'seat', expect: { state: 'free' }, columns: ['id'], orderBy: 'id' };

table('pessimistic lock', [
  [
    'done',
    async () => {
      const row = await seat();
      await inTransaction((transaction) => lockRow(transaction, lockOf(row)));
    },
    ['pessimistic-lock.lock done'],
  ],
  [
    'no such row',
    () => inTransaction((transaction) => lockRow(transaction, lockOf(noSeat))),
    ['pessimistic-lock.lock refused wrong-state'],
  ],
  [
    'locked by another',
    () => whileLocked((row) => inTransaction((transaction) => lockRow(transaction, lockOf(row)))),
    ['pessimistic-lock.lock failed LOCK_TIMEOUT'],
  ],
  [
    'those that are free',
    () => inTransaction((transaction) => lockAvailableRows(transaction, { ...available, limit: 1 })),
    ['pessimistic-lock.lock-available done'],
  ],
  [
    'none of those that are free',
    () => inTransaction((transaction) => lockAvailableRows(transaction, { ...available, limit: 0 })),
    ['pessimistic-lock.lock-available failed MISUSE'],
  ],
  [
    'work under it',
    async () => withRowLock(sql, lockOf(await seat()), async () => done(1)),
    ['pessimistic-lock.run done'],
  ],
  [
    'work under it, no such row',
    () => withRowLock(sql, lockOf(noSeat), async () => done(1)),
    ['pessimistic-lock.run refused wrong-state'],
  ],
  [
    'work under it, locked by another',
    () => whileLocked((row) => withRowLock(sql, lockOf(row), async () => done(1))),
    ['pessimistic-lock.run refused lock-timeout'],
  ],
  [
    'work under it that refuses',
    async () => withRowLock(sql, lockOf(await seat()), async () => refused('sold-out')),
    ['pessimistic-lock.run refused sold-out'],
  ],
  [
    'work under it that does not know',
    async () => withRowLock(sql, lockOf(await seat()), async () => unknown),
    ['pessimistic-lock.run unknown'],
  ],
  [
    'work under it that throws',
    async () => withRowLock(sql, lockOf(await seat()), throwing),
    ['pessimistic-lock.run failed _OTHER'],
  ],
]);

const fenced = (row: RowRef, token: number): Fence => ({ ...row, fence: { column: 'fence', token } });
const set = { state: 'sold' };

/** Of a section with this token, where 5 was registered last. */
const verifying = (token: number) => async () => {
  const row = await seat();
  await inTransaction((transaction) => verifyFence(transaction, fenced(row, token)));
};

table('fencing', [
  ['registered', async () => registerFence(sql, fenced(await seat(), 6)), ['fencing.register done']],
  [
    'registered, late',
    async () => registerFence(sql, fenced(await seat(), 5)),
    ['fencing.register refused fenced'],
  ],
  [
    'registered, no such row',
    () => registerFence(sql, fenced(noSeat, 6)),
    ['fencing.register refused wrong-state'],
  ],
  ['registered, no token', () => registerFence(sql, fenced(noSeat, 0)), ['fencing.register failed MISUSE']],
  ['updated', async () => fencedUpdate(sql, { ...fenced(await seat(), 5), set }), ['fencing.update done']],
  [
    'updated, late',
    async () => fencedUpdate(sql, { ...fenced(await seat(), 4), set }),
    ['fencing.update refused fenced'],
  ],
  [
    'updated, never registered',
    async () => fencedUpdate(sql, { ...fenced(await seat(), 6), set }),
    ['fencing.update refused wrong-state'],
  ],
  [
    'updated, nothing',
    () => fencedUpdate(sql, { ...fenced(noSeat, 6), set: {} }),
    ['fencing.update failed MISUSE'],
  ],
  ['verified', verifying(5), ['fencing.verify done']],
  ['verified, late', verifying(4), ['fencing.verify refused fenced']],
  ['verified, never registered', verifying(6), ['fencing.verify refused wrong-state']],
  ['verified, no token', verifying(0), ['fencing.verify failed MISUSE']],
]);

/** Keys in memory, and the means to let time pass. */
function openKeys() {
  let passedMs = 0;
  const store = memoryIdempotencyStore({ nowMs: () => performance.now() + passedMs });
  const keys = idempotencyKeys(store, { renewForMs: 0 });
  const pass = (ms: number) => {
    passedMs += ms;
  };
  return { keys, pass };
}

table('idempotency key, leased', [
  ['done', () => openKeys().keys.run(newRequest(), work), ['idempotency-key.run done attempt 1']],
  [
    'replayed',
    async () => {
      const { keys } = openKeys();
      const request = newRequest();
      await keys.run(request, work);
      await keys.run(request, work);
      await keys.run({ ...request, payload: '{}' }, work);
    },
    [
      'idempotency-key.run done attempt 1',
      'idempotency-key.run done replayed',
      'idempotency-key.run refused payload-mismatch',
    ],
  ],
  [
    'somebody is at it',
    () => {
      const { keys } = openKeys();
      const request = newRequest();
      return keys.run(request, async () => {
        await keys.run(request, work);
        return work();
      });
    },
    ['idempotency-key.run refused in-progress', 'idempotency-key.run done attempt 1'],
  ],
  [
    'taken over',
    async () => {
      const { keys, pass } = openKeys();
      const request = newRequest();
      await keys.run(request, async () => unknown);
      pass(60_000);
      await keys.run(request, work);
    },
    ['idempotency-key.run unknown attempt 1', 'idempotency-key.run done attempt 2 takeover'],
  ],
  [
    'work that refuses',
    () => openKeys().keys.run(newRequest(), async () => refused('declined')),
    ['idempotency-key.run refused declined attempt 1'],
  ],
  [
    'work that throws',
    () => openKeys().keys.run(newRequest(), throwing),
    ['idempotency-key.run failed _OTHER attempt 1'],
  ],
  [
    'a bad key',
    () => openKeys().keys.run(newRequest({ key: '' }), work),
    ['idempotency-key.run failed INVALID_KEY'],
  ],
  ['swept', () => openKeys().keys.sweep(), ['idempotency-key.sweep done']],
  ['swept, none', () => openKeys().keys.sweep(0), ['idempotency-key.sweep failed MISUSE']],
]);

const transactional = () => transactionalIdempotencyKeys(sql, { waitMs: 1, retry: TWICE });

table('idempotency key, transactional', [
  ['done', () => transactional().run(newRequest(), work), ['idempotency-key.transact done']],
  [
    'replayed',
    async () => {
      const request = newRequest();
      await transactional().run(request, work);
      await transactional().run(request, work);
      await transactional().run({ ...request, payload: '{}' }, work);
    },
    [
      'idempotency-key.transact done',
      'idempotency-key.transact done replayed',
      'idempotency-key.transact refused payload-mismatch',
    ],
  ],
  [
    'somebody is at it',
    () => {
      const request = newRequest();
      return transactional().run(request, async () => {
        await transactional().run(request, work);
        return work();
      });
    },
    ['idempotency-key.transact refused lock-timeout', 'idempotency-key.transact done'],
  ],
  [
    'work that meets conflicts',
    () => transactional().run(newRequest(), () => Promise.reject(new StoreError('DEADLOCK', 'none', ''))),
    ['idempotency-key.transact refused contended'],
  ],
  [
    'work that refuses',
    () => transactional().run(newRequest(), async () => refused('declined')),
    ['idempotency-key.transact refused declined'],
  ],
  [
    'work that does not know',
    () => transactional().run(newRequest(), async () => unknown),
    ['idempotency-key.transact unknown'],
  ],
  [
    'work that throws',
    () => transactional().run(newRequest(), throwing),
    ['idempotency-key.transact failed _OTHER'],
  ],
  [
    'in the caller’s transaction',
    async () => {
      const request = newRequest();
      const run = () => inTransaction((transaction) => transactional().runIn(transaction, request, work));
      await run();
      await run();
    },
    ['idempotency-key.run-in done', 'idempotency-key.run-in done replayed'],
  ],
  [
    'in the caller’s transaction, work that refuses',
    () =>
      inTransaction((transaction) =>
        transactional().runIn(transaction, newRequest(), async () => refused('declined')),
      ),
    ['idempotency-key.run-in refused declined'],
  ],
  [
    'in the caller’s transaction, work that throws',
    () => inTransaction((transaction) => transactional().runIn(transaction, newRequest(), throwing)),
    ['idempotency-key.run-in failed _OTHER'],
  ],
  ['swept', () => transactional().sweep(), ['idempotency-key.sweep done']],
]);

/** A hall of so many seats, one for each guest. */
async function hall(seats: number, table = 'hall') {
  const id = ++ids;
  await database.query('INSERT INTO hall VALUES (?, ?)', id, seats);
  const definition: StockDefinition<StockRequest, number, 'already-issued' | 'sold-out'> = {
    rows: { table, key: 'id', columns: ['seats'] },
    claims: { table: 'guest', stock: 'hall', claimant: 'name', columns: ['name'] },
    take({ row, claimed }) {
      if (claimed) return refused('already-issued');
      const left = Number(row.seats);
      return left < 1 ? refused('sold-out') : done({ set: { seats: left - 1 }, claim: {}, value: left });
    },
    recall: () => refused('sold-out'),
  };
  return { id, definition };
}

/** One guest after the other asks for a seat in a hall of one. */
async function seated(
  guests: readonly string[],
  options: { over?: SqlPort; table?: string; of?: number; together?: true; maxWaiting?: number } = {},
) {
  const { over = sql, table, together, maxWaiting = 10 } = options;
  const { id, definition } = await hall(1, table);
  const seats = stock(over, definition, { name: 'seats', maxWaiting });
  const take = (claimant: string) => seats.take({ stock: options.of ?? id, claimant });
  if (together) await Promise.all(guests.map(take));
  else for (const guest of guests) await take(guest);
}

const whoseAnswersAreLost = (): SqlPort => ({
  dialect: sql.dialect,
  execute: (statement) => sql.execute(statement),
  transaction: () => Promise.reject(lost),
});

table('stock', [
  ['done', () => seated(['Kim']), ['stock done']],
  ['twice', () => seated(['Kim', 'Kim']), ['stock done', 'stock refused already-issued']],
  ['sold out', () => seated(['Kim', 'Lee']), ['stock done', 'stock refused sold-out']],
  ['no such hall', () => seated(['Kim'], { of: 0 }), ['stock refused wrong-state']],
  [
    'too many at once',
    () => seated(['Kim', 'Lee'], { together: true, maxWaiting: 1 }),
    ['stock refused overloaded', 'stock done'],
  ],
  ['a lost answer', () => seated(['Kim'], { over: whoseAnswersAreLost() }), ['stock unknown']],
  ['no such table', () => seated(['Kim'], { table: 'nowhere' }), ['stock failed REJECTED']],
]);

const locks = () => distributedLocks(memoryLockStore(), { waitMs: 0 });

table('distributed lock', [
  ['done', () => locks().run('key', async () => 'anything'), ['distributed-lock.run done']],
  [
    'held by another',
    async () => {
      const both = locks();
      const held = barrier(2);
      await Promise.all([both.run('key', held), both.run('key', held).then(held)]);
    },
    ['distributed-lock.run refused lock-timeout', 'distributed-lock.run done'],
  ],
  [
    'work that refuses',
    () => locks().run('key', async () => refused('sold-out')),
    ['distributed-lock.run refused sold-out'],
  ],
  [
    'work that does not know',
    () => locks().run('key', async () => unknown),
    ['distributed-lock.run unknown'],
  ],
  ['work that throws', () => locks().run('key', throwing), ['distributed-lock.run failed _OTHER']],
  ['no key', () => locks().run('', throwing), ['distributed-lock.run failed MISUSE']],
]);
