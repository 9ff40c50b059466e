import { describe, expect, test } from 'vitest';
import { together } from '../../../test/barrier.ts';
import {
  claimUnique,
  conditionalUpdate,
  done,
  refused,
  StoreError,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { sqlStores } from './stores.ts';
import { count, onTickets, run, sql, store, TICKET } from './tickets.ts';

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

  test('StoreError tells a lost answer from a refusal of the server', async () => {
    const unknownTable = run(sql, 'SELECT * FROM nowhere');
    await expect(unknownTable).rejects.toMatchObject({
      name: 'StoreError',
      code: 'REJECTED',
      effect: 'none',
    });
    const duplicate = run(sql, `INSERT INTO ticket VALUES (1, 'x', 0, NULL)`);
    await expect(duplicate).rejects.toBeInstanceOf(StoreError);
    await expect(duplicate).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
  });

  test('through Kysely each guard lets one of 10 racers through', async () => {
    const kysely = store.open({ over: 'kysely', connections: 10 });
    const sell = { ...TICKET, expect: { status: 'free' }, set: { status: 'sold' }, increment: 'version' };
    const races: Record<string, () => Promise<{ outcome: string }>> = {
      'conditional update': () => conditionalUpdate(kysely, sell),
      'unique claim': () =>
        claimUnique(kysely, { table: 'claim', key: { claim_key: 'k' }, values: { owner: 'x' } }),
      'optimistic lock': () =>
        versionedUpdate(kysely, { ...TICKET, version: { column: 'version', value: 1 }, set: {} }),
      'pessimistic lock': () =>
        withRowLock(kysely, { ...TICKET, columns: ['buyer'], waitMs: 10_000 }, async (row, transaction) => {
          if (row.buyer !== null) return refused('already-done');
          await run(transaction, `UPDATE ticket SET buyer = 'x' WHERE id = 1`);
          return done(undefined);
        }),
    };
    for (const [guard, race] of Object.entries(races)) {
      expect([guard, count(await together(10, race), 'done')]).toEqual([guard, 1]);
    }
  });
});
