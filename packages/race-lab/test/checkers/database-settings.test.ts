import { expect, inject, test } from 'vitest';
import { readDatabaseSettings } from '../../src/checkers/database-settings.ts';

const number = expect.stringMatching(/^\d+(\.\d+)+$/);

test('PostgreSQL says how durable it is', async () => {
  expect(await readDatabaseSettings(inject('postgresUrl'))).toEqual({
    product: 'PostgreSQL',
    version: number,
    settings: {
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      default_transaction_isolation: 'read committed',
    },
  });
});

test.for(['OFF', 'ON'])('MariaDB says how durable it is, and whether it checks snapshots: %s', async (on) => {
  const url = inject(on === 'ON' ? 'mariadbSnapshotUrl' : 'mariadbUrl');
  const { settings, ...server } = await readDatabaseSettings(url);
  expect(server).toEqual({ product: 'MariaDB', version: number });
  expect(settings).toEqual({
    innodb_flush_log_at_trx_commit: '1',
    sync_binlog: '1',
    log_bin: 'OFF',
    innodb_doublewrite: 'ON',
    transaction_isolation: 'REPEATABLE-READ',
    innodb_snapshot_isolation: on,
  });
});

test('a setting that the URL itself changes is told as the sessions have it', async () => {
  const url = `${inject('postgresUrl')}?options=-c%20synchronous_commit%3Doff`;
  expect((await readDatabaseSettings(url)).settings).toMatchObject({
    synchronous_commit: 'off',
    fsync: 'on',
  });
});
