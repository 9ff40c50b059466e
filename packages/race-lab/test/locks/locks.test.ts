import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newDatabase, type SqlStore, thorough } from '../../../../test/stores.ts';
import { openLockView } from '../../src/locks/index.ts';
import { mariadbWaits } from '../../src/locks/mariadb-waits.ts';
import type { Query } from '../../src/locks/processlist.ts';
import { seen, session, view, waitOf } from './sessions.ts';

const LOCK_ROW = `SELECT status FROM publish WHERE id = 7 FOR UPDATE`;

/** A limit that is reached in the moment in which the lock is granted is told as 57014. */
function ignoreLockTimeout(error: unknown): void {
  if (!['55P03', '57014'].includes((error as { code: string }).code)) throw error;
}

async function publishes(store: SqlStore): Promise<string> {
  const url = await newDatabase(store);
  const owner = await session(url);
  await owner.run(
    'CREATE TABLE publish (id int PRIMARY KEY, order_id varchar(20) UNIQUE, status varchar(10))',
  );
  await owner.run(`INSERT INTO publish VALUES (7, 'seven', 'WAITING'), (8, 'eight', 'WAITING')`);
  return url;
}

describe.each([
  ['postgres', { record: /^\(\d+,\d+\)$/, mode: 'AccessExclusiveLock', index: undefined, key: undefined }],
  ['mariadb', { record: /^7$/, mode: 'X', index: 'PRIMARY', key: 'order_id' }],
] as const)('on %s', (store, names) => {
  test('nobody is shown to wait where nobody does, also beside an open transaction', async () => {
    const url = await publishes(store);
    const holder = await session(url);
    const locks = await view(url);
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    expect(await locks.sample()).toEqual([]);
    expect(await locks.sample()).toEqual([]);
  });

  test('who waits for a row is shown with the statement, the row, and the holder who is idle in transaction', async () => {
    const url = await publishes(store);
    const [holder, waiter, locks] = [await session(url), await session(url), await view(url)];
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    await waiter.run('BEGIN');
    const waiting = waiter.run(LOCK_ROW);

    const wait = await waitOf(locks, waiter);

    expect(wait).toMatchObject({
      kind: 'row',
      waiter: { session: waiter.id, statement: LOCK_ROW },
      holders: [{ session: holder.id, statement: undefined, idleInTransaction: true, certain: true }],
      table: 'publish',
      index: names.index,
      mode: names.mode,
    });
    expect(wait.record).toMatch(names.record);
    expect(wait.waitedMs).toBeGreaterThan(0);
    expect(wait.waiter.statementMs).toBeGreaterThanOrEqual(wait.waitedMs);
    if (store === 'postgres') {
      expect(wait.waiter.application).toBe('the shop');
      expect(wait.holders[0]?.lastStatement).toBe(LOCK_ROW);
    }
    await holder.run('COMMIT');
    await waiting;
    expect(await locks.sample()).toEqual([]);
  });

  test('the longer it waits, the longer it has waited', async () => {
    const url = await publishes(store);
    const [holder, waiter, locks] = [await session(url), await session(url), await view(url)];
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    const waiting = waiter.run(LOCK_ROW);
    const first = await waitOf(locks, waiter);
    const later = await seen(locks, ([wait]) => (wait?.waitedMs ?? 0) > first.waitedMs);
    expect(later).toHaveLength(1);
    await holder.run('COMMIT');
    await waiting;
  });

  test('a chain: the second waits for the first, and the third for the second', async () => {
    const url = await publishes(store);
    const [first, second, third] = [await session(url), await session(url), await session(url)];
    const locks = await view(url);
    await first.run('BEGIN');
    await first.run(LOCK_ROW);
    await second.run('BEGIN');
    await second.run('SELECT * FROM publish WHERE id = 8 FOR UPDATE');
    const secondWaits = second.run(LOCK_ROW);
    await waitOf(locks, second);
    const thirdWaits = third.run(`UPDATE publish SET status = 'PAID' WHERE id = 8`);
    await waitOf(locks, third);

    const waits = await seen(locks, ({ length }) => length === 2);

    const holdersOf = (id: string) => waits.find(({ waiter }) => waiter.session === id)?.holders;
    expect(holdersOf(second.id)).toMatchObject([{ session: first.id, idleInTransaction: true }]);
    expect(holdersOf(third.id)).toMatchObject([
      { session: second.id, idleInTransaction: false, statement: LOCK_ROW },
    ]);
    await first.run('COMMIT');
    await secondWaits;
    await second.run('COMMIT');
    await thirdWaits;
  });

  test('a queue at one row: each is shown as waiting for the one who has locked it', async () => {
    const url = await publishes(store);
    const holder = await session(url);
    const queue = [await session(url), await session(url), await session(url)];
    const locks = await view(url);
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    const waiting = queue.map((one) => one.run(LOCK_ROW));

    const waits = await seen(locks, ({ length }) => length === queue.length);

    expect(waits.map(({ waiter }) => waiter.session).toSorted()).toEqual(
      queue.map(({ id }) => id).toSorted(),
    );
    for (const wait of waits) {
      expect(wait).toMatchObject({ kind: 'row', table: 'publish', mode: names.mode });
      expect(wait.record).toMatch(names.record);
      expect(wait.holders).toMatchObject([{ session: holder.id, idleInTransaction: true }]);
    }
    await holder.run('COMMIT');
    await Promise.all(waiting);
  });

  test('who inserts a key that another transaction has inserted waits for it', async () => {
    const url = await publishes(store);
    const [first, second, locks] = [await session(url), await session(url), await view(url)];
    await first.run('BEGIN');
    await first.run(`INSERT INTO publish VALUES (9, 'nine', 'WAITING')`);
    const inserting = second.run(`INSERT INTO publish VALUES (10, 'nine', 'WAITING')`);

    const wait = await waitOf(locks, second);

    expect(wait).toMatchObject({
      kind: 'row',
      table: 'publish',
      index: names.key,
      holders: [{ session: first.id }],
    });
    await first.run('ROLLBACK');
    await inserting;
  });

  test.each([
    ['ALTER TABLE', 'ALTER TABLE publish ADD COLUMN note varchar(10)'],
    ['CREATE INDEX', 'CREATE INDEX publish_status ON publish (status)'],
  ])('%s waits behind an open transaction that has locked a row', async (_name, statement) => {
    const url = await publishes(store);
    const [holder, definer, locks] = [await session(url), await session(url), await view(url)];
    await holder.run('BEGIN');
    await holder.run(`UPDATE publish SET status = 'PAID' WHERE id = 7`);
    const defining = definer.run(statement);

    const wait = await waitOf(locks, definer);

    expect(wait.waiter.statement).toBe(statement);
    expect(wait.holders).toMatchObject([{ session: holder.id, idleInTransaction: true }]);
    if (store === 'postgres') {
      expect(wait).toMatchObject({ kind: 'table', table: 'publish', holders: [{ certain: true }] });
    } else {
      // MariaDB without its plugin does not say who: whoever has a transaction open may be it.
      expect(wait).toMatchObject({
        kind: 'metadata',
        lockType: 'table metadata lock',
        holders: [{ certain: false }],
      });
    }
    await holder.run('COMMIT');
    await defining;
    expect(await locks.sample()).toEqual([]);
  });

  test('who comes after that queues behind it, and not behind the transaction alone', async () => {
    const url = await publishes(store);
    const [holder, definer, reader] = [await session(url), await session(url), await session(url)];
    const locks = await view(url);
    await holder.run('BEGIN');
    await holder.run(`UPDATE publish SET status = 'PAID' WHERE id = 7`);
    const defining = definer.run('ALTER TABLE publish ADD COLUMN note varchar(10)');
    await waitOf(locks, definer);
    const reading = reader.run('SELECT count(*) FROM publish');

    const wait = await waitOf(locks, reader);

    expect(wait.holders[0]).toMatchObject({
      session: definer.id,
      statement: expect.stringContaining('ALTER'),
    });
    await holder.run('COMMIT');
    await Promise.all([defining, reading]);
  });

  test('another database’s waits are not shown', async () => {
    const [url, other] = [await publishes(store), await publishes(store)];
    const [holder, waiter, locks] = [await session(url), await session(url), await view(url)];
    const elsewhere = await view(other);
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    const waiting = waiter.run(LOCK_ROW);
    await waitOf(locks, waiter);
    expect(await elsewhere.sample()).toEqual([]);
    await holder.run('COMMIT');
    await waiting;
  });

  test('two who look at the same time both see it', async () => {
    const url = await publishes(store);
    const [holder, waiter] = [await session(url), await session(url)];
    const views = [await view(url), await view(url)];
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    const waiting = waiter.run(LOCK_ROW);
    const both = await Promise.all(views.map((locks) => waitOf(locks, waiter)));
    expect(both).toMatchObject([{ table: 'publish' }, { table: 'publish' }]);
    await holder.run('COMMIT');
    await waiting;
  });

  test('a view whose connection is ended says so, and is of no further use', async () => {
    const url = await publishes(store);
    const locks = await openLockView(url);
    const administrator = await session(url);
    await administrator.run(
      store === 'postgres'
        ? `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'race-lab locks'
             AND datname = current_database()`
        : `KILL ${
            (
              await administrator.run(`SELECT ID FROM information_schema.PROCESSLIST
             WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND COMMAND = 'Sleep' ORDER BY ID DESC LIMIT 1`)
            )[0]?.ID
          }`,
    );
    const lost = { name: 'LockViewError', code: 'LOST' };
    await expect(locks.sample()).rejects.toMatchObject(lost);
    await expect(locks.sample()).rejects.toMatchObject(lost);
    await locks.close();
    await locks.close();
  });

  test('a server that is not there is named without its password', async () => {
    const url =
      store === 'postgres' ? 'postgres://lab:secret@127.0.0.1:1/x' : 'mysql://lab:secret@127.0.0.1:1/x';
    const failure = await openLockView(url).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'UNREACHABLE', message: expect.stringContaining('127.0.0.1:1/x') });
    expect(String(failure)).not.toContain('secret');
  });
});

test('a wait that begins while PostgreSQL is looked at is shown with its own statement, not the one before', async () => {
  const url = await publishes('postgres');
  const holder = await session(url);
  const waiters = await Promise.all(Array.from({ length: 6 }, () => session(url)));
  const views = [await view(url), await view(url)];
  await holder.run('BEGIN');
  await holder.run(LOCK_ROW);
  let ended = false;
  const waiting = waiters.map(async ({ run }) => {
    while (!ended) {
      await run(`SET lock_timeout = '2ms'`);
      await run('BEGIN');
      await run(LOCK_ROW).catch(ignoreLockTimeout);
      await run('ROLLBACK');
    }
  });
  const statements: (string | undefined)[] = [];
  // Read in any order, about one in 300 was wrong.
  const enough = thorough ? 8_000 : 2_000;
  await Promise.all(
    views.map(async (locks) => {
      while (statements.length < enough)
        for (const { waiter } of await locks.sample()) statements.push(waiter.statement);
    }),
  );
  ended = true;
  await Promise.all(waiting);
  expect([...new Set(statements)]).toEqual([LOCK_ROW]);
});

test('a MariaDB user without the privilege PROCESS is told so when the view is opened', async () => {
  const url = await newDatabase('mariadb');
  const administrator = await session(url);
  const schema = new URL(url).pathname.slice(1);
  await administrator.run(`CREATE USER member_${schema} IDENTIFIED BY 'x'`);
  await administrator.run(`GRANT ALL ON ${schema}.* TO member_${schema}`);
  const member = Object.assign(new URL(url), { username: `member_${schema}`, password: 'x' }).href;
  await expect(openLockView(member)).rejects.toMatchObject({
    code: 'NOT_ALLOWED',
    message: expect.stringContaining('PROCESS'),
  });
});

test('with MariaDB’s plugin METADATA_LOCK_INFO the holder and the table of a metadata lock are certain', async ({
  skip,
}) => {
  const url = await publishes('mariadb');
  const administrator = await session(url);
  const [server] = await administrator.run('SELECT @@plugin_dir AS folder');
  // Debian has it in mariadb-server, which starts a service and is not asked for; what it tells is read below all the same.
  if (!existsSync(join(String(server?.folder), 'metadata_lock_info.so'))) skip('the plugin is not installed');
  await administrator.run(`INSTALL SONAME 'metadata_lock_info'`);
  onTestFinished(async () => void (await (await session(url)).run(`UNINSTALL SONAME 'metadata_lock_info'`)));
  const [holder, bystander, definer] = [await session(url), await session(url), await session(url)];
  const locks = await view(url);
  await bystander.run('CREATE TABLE other (id int PRIMARY KEY)');
  await bystander.run('BEGIN');
  await bystander.run('INSERT INTO other VALUES (1)');
  await holder.run('BEGIN');
  await holder.run(LOCK_ROW);
  const defining = definer.run('ALTER TABLE publish ADD COLUMN note varchar(10)');

  expect(await waitOf(locks, definer)).toMatchObject({
    kind: 'metadata',
    table: 'publish',
    holders: [{ session: holder.id, idleInTransaction: true, certain: true }],
  });
  await holder.run('COMMIT');
  await defining;
});

test('what the plugin tells is read: of the same table, whoever has a lock granted', async () => {
  const session = (id: number, change: object) => ({
    ...{ id, command: 'Sleep', info: null, state: '', timeMs: 10, here: 1, schemaName: 'shop' },
    ...change,
  });
  const lock = (owner: number, tableName: string) => ({ owner, tableSchema: 'shop', tableName });
  const answers: Record<string, object[]> = {
    PLUGINS: [{ active: 1 }],
    INNODB_TRX: [
      { transaction: '1', session: 11, wantedLock: null, statement: null, openSeconds: 5 },
      { transaction: '2', session: 12, wantedLock: null, statement: null, openSeconds: 5 },
    ],
    PROCESSLIST: [
      session(11, {}),
      session(12, {}),
      session(13, {
        command: 'Query',
        info: 'ALTER TABLE publish ADD COLUMN note varchar(10)',
        state: 'Waiting for table metadata lock',
        timeMs: 250,
      }),
    ],
    METADATA_LOCK_INFO: [lock(11, 'publish'), lock(12, 'other'), lock(13, 'publish')],
  };
  const query: Query = async (text) => {
    const table = /FROM information_schema\.(\w+)/.exec(text)?.[1] ?? '';
    return (answers[table] ?? []) as never[];
  };
  const waits = await (await mariadbWaits(query))();
  expect(waits).toMatchObject([
    {
      kind: 'metadata',
      table: 'publish',
      waiter: { session: '13' },
      holders: [{ session: '11', idleInTransaction: true, certain: true }],
      waitedMs: 250,
    },
  ]);
  expect(waits[0]?.holders).toHaveLength(1);
});

test('advisory locks are waits too', async () => {
  const postgres = await newDatabase('postgres');
  const [holder, waiter, locks] = [await session(postgres), await session(postgres), await view(postgres)];
  await holder.run('SELECT pg_advisory_lock(1, 2)');
  const waiting = waiter.run('SELECT pg_advisory_lock(1, 2)');
  expect(await waitOf(locks, waiter)).toMatchObject({
    kind: 'advisory',
    record: '1,2',
    holders: [{ session: holder.id }],
  });
  await holder.run('SELECT pg_advisory_unlock(1, 2)');
  await waiting;

  const mariadb = await newDatabase('mariadb');
  const [owner, other, view2] = [await session(mariadb), await session(mariadb), await view(mariadb)];
  await owner.run(`SELECT GET_LOCK('lotto', 0)`);
  const blocked = other.run(`SELECT GET_LOCK('lotto', 10)`);
  expect(await waitOf(view2, other)).toMatchObject({ kind: 'advisory', holders: [] });
  await owner.run(`SELECT RELEASE_LOCK('lotto')`);
  await blocked;
});

test('a prepared transaction that holds the lock is named, though it is in no session', async () => {
  const url = await publishes('mariadb');
  const [holder, waiter, locks] = [await session(url), await session(url), await view(url)];
  await holder.run(`XA START 'x'`);
  await holder.run(LOCK_ROW);
  await holder.run(`UPDATE publish SET status = 'PAID' WHERE id = 7`);
  await holder.run(`XA END 'x'`);
  await holder.run(`XA PREPARE 'x'`);
  const waiting = waiter.run(LOCK_ROW);
  expect((await waitOf(locks, waiter)).holders).toHaveLength(1);
  await holder.run(`XA ROLLBACK 'x'`);
  await waiting;
});

test.each(['postgres', 'mysql'])(
  'a %s server that takes the connection and says nothing is given up',
  async (kind) => {
    const silent = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as { port: number };
    const url = `${kind}://lab:secret@127.0.0.1:${port}/x`;
    await expect(openLockView(url)).rejects.toMatchObject({ code: 'UNREACHABLE' });
  },
);

test.each(['postgres', 'mariadb', 'redis://127.0.0.1', 'not a url'])('%s names no database', async (url) => {
  await expect(openLockView(url)).rejects.toMatchObject({ code: 'BAD_URL' });
});
