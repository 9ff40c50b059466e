import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { serverFinder } from '../../race-lab/src/cluster/find-server.ts';
import { type Guardian, startGuardian } from '../../race-lab/src/cluster/guardian.ts';
import { mariadbPackage, startMariadb } from '../../race-lab/src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../../race-lab/src/cluster/postgres.ts';
import { done, type SqlSession, type SqlValue, StoreError, transactWithRetry } from '../src/index.ts';
import { type Store, storeAt } from './stores.ts';

/* What concerns a whole server, and so is done to servers that no other test uses. */

const BOTH_DRIVERS = ['driver', 'kysely'] as const;
const { signal } = new AbortController();

let guardian: Guardian;
let store: Store;

const run = (session: SqlSession, text: string, ...values: SqlValue[]) =>
  session.execute(store.statement(text, ...values));
const insert = (session: SqlSession, text: string) => run(session, 'INSERT INTO note VALUES (?)', text);

beforeAll(async () => {
  guardian = await startGuardian();
});

afterAll(async () => {
  expect(await guardian.end()).toEqual([]);
});

describe('F15: one backend of PostgreSQL is killed', () => {
  beforeAll(async () => {
    const { url } = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal });
    store = await storeAt(url);
    await store.query('CREATE TABLE note (text varchar(50) PRIMARY KEY)');
  });

  afterAll(() => store.close());

  const killBackend = (id: number) => process.kill(id, 'SIGKILL');

  /** The server ends every other session, recovers, and refuses new ones meanwhile. */
  async function recovered(): Promise<void> {
    const sql = store.open();
    await until(() =>
      run(sql, 'SELECT 1').then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(StoreError);
          return false;
        },
      ),
    );
    await store.reconnect();
  }

  test('and every other connection is dropped as well', async () => {
    const [victim, bystander] = [await store.connect(), await store.connect()];
    await bystander.begin('READ COMMITTED');
    await bystander.query(`INSERT INTO note VALUES ('bystander')`);
    killBackend(victim.id);
    await until(() =>
      bystander.query('SELECT 1').then(
        () => false,
        () => true,
      ),
    );
    await recovered();
    expect((await store.query('SELECT * FROM note')).rows).toEqual([]);
  });

  test.each(BOTH_DRIVERS)(
    'a transaction elsewhere has no effect, and the next gets through (%s)',
    async (over) => {
      const sql = store.open({ over });
      const victim = await store.connect();
      const bystander = sql.transaction(async (transaction) => {
        await insert(transaction, 'bystander');
        killBackend(victim.id);
        for (;;) await run(transaction, 'SELECT 1');
      });
      await expect(bystander).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'none' });
      await recovered();
      // Connections of the pool that were idle meanwhile are not lent again.
      const next = await transactWithRetry(sql, async (transaction) =>
        done(await insert(transaction, `next ${over}`)),
      );
      expect(next.outcome).toBe('done');
      expect((await store.query('SELECT * FROM note WHERE text = ?', `next ${over}`)).rows).toHaveLength(1);
      expect((await store.query(`SELECT * FROM note WHERE text = 'bystander'`)).rows).toEqual([]);
    },
  );

  test('a statement that commits by itself is unknown', async () => {
    const victim = await store.connect();
    const [sleeping] = await Promise.allSettled([
      run(store.open(), 'SELECT pg_sleep(10)'),
      until(async () => {
        const asleep = `SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'`;
        return (await store.query(asleep)).rows.length === 1;
      }).then(() => killBackend(victim.id)),
    ]);
    expect(sleeping).toMatchObject({ reason: { code: 'CONNECTION_LOST', effect: 'unknown' } });
    await recovered();
  });
});

describe('a COMMIT that MariaDB refuses, because it has become read-only', () => {
  const user = { name: 'writer', password: randomBytes(12).toString('hex') };

  beforeAll(async () => {
    const found = await serverFinder(process.env.PATH ?? '')(mariadbPackage);
    if (!found.found) throw new Error(`the tests need MariaDB: ${found.install}`);
    store = await storeAt((await startMariadb(guardian, { program: found.path, signal })).url);
    await store.query('CREATE TABLE note (text varchar(50) PRIMARY KEY)');
    await store.query(`CREATE USER ${user.name} IDENTIFIED BY '${user.password}'`);
    await store.query(`GRANT SELECT, INSERT ON lab.* TO ${user.name}`);
  });

  beforeEach(() => store.query('DELETE FROM note'));
  afterEach(() => store.query('SET GLOBAL read_only = OFF'));
  afterAll(() => store.close());

  test.each(BOTH_DRIVERS)(
    'is an error without effect, and its connection is not lent again (%s)',
    async (over) => {
      const sql = store.open({ over, user, connections: 1 });
      const refusedCommit = sql.transaction(async (transaction) => {
        await insert(transaction, 'refused');
        await store.query('SET GLOBAL read_only = ON');
      });
      await expect(refusedCommit).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      await store.query('SET GLOBAL read_only = OFF');
      await sql.transaction((transaction) => insert(transaction, 'next'));
      expect((await store.query('SELECT text FROM note')).rows).toEqual([{ text: 'next' }]);
    },
  );
});
