import { readThenWrite, type SqlPort } from 'pawl';
import { expect, onTestFinished, test } from 'vitest';
import { newDatabase, twoStores } from '../../../test/stores.ts';
import { shopSettings } from '../src/config.ts';
import { openConnections } from '../src/connections.ts';

/** What a session is set up with, besides its name. */
const SETTINGS = {
  postgres: `SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout',
    'idle_in_transaction_session_timeout', 'default_transaction_isolation', 'TimeZone') ORDER BY name`,
  mysql: `SHOW SESSION VARIABLES WHERE variable_name IN ('tx_isolation', 'transaction_isolation', 'time_zone', 'sql_mode',
    'innodb_lock_wait_timeout', 'lock_wait_timeout', 'max_statement_time', 'idle_transaction_timeout')`,
} as const;

async function connect(databaseUrl: string, env: Record<string, string> = {}) {
  const settings = shopSettings({
    DATABASE_URL: databaseUrl,
    PAYMENT_BASE_URL: 'http://127.0.0.1:1',
    PAYMENT_SECRET_KEY: 'test_sk_sandbox',
    COUPON_STRATEGY: 'conditional-update',
    LOCK_WAIT_MS: '3000',
    DATABASE_STATEMENT_TIMEOUT_MS: '17000',
    ...env,
  });
  const connections = openConnections(settings, { error: () => undefined } as never);
  onTestFinished(() => connections.close());
  return connections;
}

test.each(twoStores)(
  '%s: sessions for groups are set up as the others are, and take several statements at once',
  async (store) => {
    const { sql, groups } = await connect(await newDatabase(store));
    const text = SETTINGS[sql.dialect.name];
    const settingsOf = async (port: SqlPort) => (await port.execute({ text, values: [] })).rows;
    const own = await settingsOf(groups);
    expect(own.length).toBeGreaterThanOrEqual(5);
    // On MySQL they wait for a second, and where a guard says for how long: nobody else's outcome hangs on that.
    const others = (await settingsOf(sql)).map((row) =>
      /^innodb_lock_wait_timeout/.test(String(row.Variable_name)) ? { ...row, Value: '1' } : row,
    );
    expect(own).toEqual(others);
    // Within the transaction too, which says for itself what its isolation is.
    expect(groups.readThenWrite).toBeDefined();
    expect(
      await readThenWrite(groups, [{ text, values: [] }], ([read]) => ({
        writes: [],
        result: () => read?.rows,
      })),
    ).toEqual(own);
  },
);
