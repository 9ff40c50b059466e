import { expect, onTestFinished, test } from 'vitest';
import { newMariadbServer, newPostgresServer } from '../../../../test/own-server.ts';
import { openTables } from '../database.ts';
import { startProvider, startShops } from '../harness.ts';

/** Nothing runs beside the purchase. */
const QUIET = { RECOVERY_EVERY_MS: '3600000', RECONCILE_EVERY_MS: '0', RECONCILE_GRACE_MS: '0' };

/**
 * One purchase on the happy path, by an instance that has paid before, on a server that nobody else uses. As many are taken by any number
 * that come together, but for updates of MariaDB.
 */
async function purchaseOn(databaseUrl: string, reset: () => Promise<unknown>): Promise<void> {
  const provider = await startProvider();
  const shops = await startShops({ databaseUrl, providerUrl: provider.url, env: QUIET });
  expect((await shops.confirm(await shops.order())).status).toBe(200);
  const order = await shops.order();
  await reset();
  expect((await shops.confirm(order)).status).toBe(200);
}

/** What runs transactions, and is counted apart from the statements in them. */
const CONTROL = /^(start transaction|begin|commit)\b/i;

test('on PostgreSQL a purchase that comes alone takes seventeen statements and two commits, as the server counts them', async () => {
  const server = await newPostgresServer();
  const first = openTables(server.url);
  await first.sql(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`);
  await first.end();
  await server.kill();
  await server.start('kept');
  const { sql, end } = openTables(server.url);
  onTestFinished(end);
  await sql('CREATE EXTENSION pg_stat_statements');

  await purchaseOn(server.url, () => sql('SELECT pg_stat_statements_reset()'));

  const counted = await sql(`
    SELECT trim(regexp_replace(query, '\\s+', ' ', 'g')) AS text, calls::int FROM pg_stat_statements
     WHERE query NOT LIKE '%pg_stat_statements%'`);
  const control = counted.filter(({ text }) => CONTROL.test(String(text)));
  const statements = counted.filter(({ text }) => !CONTROL.test(String(text)));
  expect(control).toEqual(
    expect.arrayContaining([
      { text: expect.stringMatching(/^begin/i), calls: 2 },
      { text: expect.stringMatching(/^commit/i), calls: 2 },
    ]),
  );
  expect(control).toHaveLength(2);
  const calls = statements.reduce((sum, { calls }) => sum + Number(calls), 0);
  expect(calls, JSON.stringify(statements)).toBe(17);
});

test('on MariaDB a purchase that comes alone takes nineteen statements and two commits, as the server counts them', async () => {
  const server = await newMariadbServer();
  const { sql, end } = openTables(server.url);
  onTestFinished(end);
  const status = async () => {
    const rows = await sql(
      `SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Com\\_%' OR Variable_name = 'Questions'`,
    );
    return new Map(rows.map((row) => [String(row.Variable_name), Number(row.Value)]));
  };
  let before = new Map<string, number>();

  await purchaseOn(server.url, async () => {
    before = await status();
  });

  const after = await status();
  const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  expect([grown('Com_begin'), grown('Com_commit')]).toEqual([2, 2]);
  // All that was sent, but for what runs the transactions, and for the question itself. Their isolation level is the session's.
  const statements = grown('Questions') - grown('Com_show_status') - 2 - 2;
  const kinds = [...after.keys()].filter((name) => grown(name) > 0);
  expect(grown('Com_set_option')).toBe(0);
  expect(statements, `${kinds}`).toBe(19);
  const written = grown('Com_insert') + grown('Com_insert_select') + grown('Com_update');
  expect(statements).toBe(grown('Com_select') + written);
});
