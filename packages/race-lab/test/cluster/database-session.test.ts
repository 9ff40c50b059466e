import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { newDatabase, sqlStores } from '../../../../test/stores.ts';
import { withDatabase } from '../../src/cluster/database-session.ts';
import { freePort } from '../../src/cluster/ports.ts';
import { until } from './helpers.ts';

const LIMIT_MS = 10_000;

/** How each store says it: sleep, who am I, is that one still connected, and end its connection. */
const words = {
  postgres: {
    sleep: 'SELECT pg_sleep(60)',
    me: 'SELECT pg_backend_pid() AS id',
    is: (id: string) => `SELECT pid FROM pg_stat_activity WHERE pid = ${id}`,
    end: (id: string) => `SELECT pg_terminate_backend(${id})`,
  },
  mysql: {
    sleep: 'SELECT SLEEP(60)',
    me: 'SELECT CONNECTION_ID() AS id',
    is: (id: string) => `SELECT id FROM information_schema.processlist WHERE id = ${id}`,
    end: (id: string) => `KILL ${id}`,
  },
};

/** Waits until this process has no connection; one that is left open would keep it alive. */
async function closed(): Promise<void> {
  const open = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  await until(() => open() === 0, 5_000, open);
}

test.for(sqlStores)('a column of 64 bits comes as text, bytes as a Buffer: %s', async (store) => {
  const url = await newDatabase(store);
  const bytes = store === 'postgres' ? 'bytea' : 'varbinary(8)';
  const rows = await withDatabase(url, LIMIT_MS, async (query) => {
    await query(`CREATE TABLE kept (id bigint, small bigint, raw ${bytes})`);
    await query(`INSERT INTO kept VALUES (9007199254740993, 7, 'ab')`);
    return query('SELECT id, small, raw FROM kept');
  });
  expect(rows).toEqual([{ id: '9007199254740993', small: '7', raw: Buffer.from('ab') }]);
});

test.for(sqlStores)('a statement that takes too long is given up with its connection: %s', async (store) => {
  const url = await newDatabase(store);
  const { sleep, me, is, end } = words[store === 'postgres' ? 'postgres' : 'mysql'];
  await closed();
  let id = '';
  const given = withDatabase(url, 300, async (query) => {
    id = String((await query(me))[0]?.id);
    await query(sleep);
  });
  await expect(given).rejects.toThrow(/timeout/);
  await closed();
  // What is owed on the server goes on there; the test's own is ended.
  await withDatabase(url, LIMIT_MS, async (query) => {
    if ((await query(is(id))).length > 0) await query(end(id)).catch(() => undefined);
  });
});

test.for(sqlStores)('a connection that the server ends is told by the next statement: %s', async (store) => {
  const url = await newDatabase(store);
  const { me, end, is } = words[store === 'postgres' ? 'postgres' : 'mysql'];
  const broken = withDatabase(url, LIMIT_MS, async (query) => {
    const id = String((await query(me))[0]?.id);
    await withDatabase(url, LIMIT_MS, async (other) => {
      await other(end(id));
      await until(async () => (await other(is(id))).length === 0);
    });
    await query('SELECT 1');
  });
  await expect(broken).rejects.toThrow();
});

test.for(['postgres', 'mysql'])('a server that takes a connection and says nothing: %s', async (protocol) => {
  const port = await freePort.next();
  const silent = createServer((socket) => void socket.on('error', () => undefined).resume());
  await new Promise<void>((resolve) => silent.listen(port, '127.0.0.1', resolve));
  // Ends only when no connection is left.
  onTestFinished(() => new Promise((resolve) => silent.close(() => resolve())));
  const url = `${protocol}://me:secret@127.0.0.1:${port}/shop`;
  await expect(withDatabase(url, 300, async () => 'connected')).rejects.toThrow(/timeout|ETIMEDOUT/);
});

test.for(sqlStores)(
  'a failure of the work itself is thrown, and the connection closed: %s',
  async (store) => {
    const url = await newDatabase(store);
    const failure = new Error('of the work');
    await expect(withDatabase(url, LIMIT_MS, () => Promise.reject(failure))).rejects.toBe(failure);
    await closed();
  },
);
