import { idempotencyKeys, migrate, type SqlPort, sqlIdempotencyStore, transact } from 'pawl';
import { onDatabase, race } from './stage.ts';

let charges = 0;

function openPayments(sql: SqlPort) {
  const keys = idempotencyKeys(sqlIdempotencyStore(sql), { waitMs: 5_000 });
  return (key: string, payload: string) =>
    keys.run({ scope: ['member 1', 'POST /orders/pay'], key, payload }, async (lease) => {
      // Somebody before us did not finish: look the payment up before it is charged once more.
      if (lease.attempt > 1) console.log('another attempt');
      charges++; // Outside any transaction, with the order's id as the provider's idempotency key.
      return transact(sql, async (transaction) => {
        await transaction.execute({ text: 'INSERT INTO example_bill VALUES (7)', values: [] });
        // Last, and what it returns: the bill and the answer commit together, or neither does.
        return lease.completeIn(transaction, { status: 201, body: Buffer.from('{"bill":7}') });
      });
    });
}

await onDatabase({ example_bill: 'order_id integer' }, async (sql) => {
  await migrate(sql);
  const pay = openPayments(sql);
  const key = crypto.randomUUID();
  console.log(await race(50, () => pay(key, '{"orderId":7}')));
  const { rows } = await sql.execute({ text: 'SELECT order_id FROM example_bill', values: [] });
  console.log(`charges: ${charges}, bills: ${rows.length}`);
});
