import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DistributedLocks,
  type Fence,
  fencedUpdate,
  type LockLease,
  refused,
  registerFence,
  type SqlPort,
  transact,
} from 'pawl';
import { openLocks } from './open-locks.ts';
import { databaseUrl, onDatabase, race } from './stage.ts';

/** Reads how many seats are left, and writes one less; `thinks` is what happens in between. */
async function takeSeat(sql: SqlPort, { token }: LockLease, thinks: () => Promise<unknown>) {
  const event: Fence = { table: 'example_event', key: { id: 1 }, fence: { column: 'fence', token } };
  // First, before anything is read: from now on no earlier holder can write.
  const registered = await registerFence(sql, event);
  if (registered.outcome !== 'done') return registered;
  return transact(sql, async (transaction) => {
    const text = 'SELECT seats FROM example_event WHERE id = 1';
    const { rows } = await transaction.execute({ text, values: [] });
    await thinks();
    const seats = Number(rows[0]?.seats);
    return seats === 0
      ? refused('sold-out')
      : fencedUpdate(transaction, { ...event, set: { seats: seats - 1 } });
  });
}

/** The lock is around the transaction: it is given back when the transaction has been committed. */
const sell = (sql: SqlPort, locks: DistributedLocks, thinks = async () => undefined) =>
  locks.run('event 1', (lease) => takeSeat(sql, lease, thinks));

const columns = 'id integer PRIMARY KEY, seats integer, fence bigint NOT NULL DEFAULT 0';
await onDatabase({ example_event: columns }, async (sql) => {
  await sql.execute({ text: 'INSERT INTO example_event VALUES (1, 10, 0)', values: [] });
  const { locks, close } = await openLocks(process.argv[3] ?? databaseUrl());
  // A holder that loses its lock in the middle: its lease is short, and it does not renew it.
  const stalled = await openLocks(process.argv[3] ?? databaseUrl(), { leaseMs: 1_000, renewForMs: 0 });
  const late = sell(sql, stalled.locks, () => sleep(2_000));
  await sleep(500);
  console.log(await race(50, () => sell(sql, locks)));
  console.log(`the late one: ${await race(1, () => late)}`);
  await Promise.all([close(), stalled.close()]);
});
