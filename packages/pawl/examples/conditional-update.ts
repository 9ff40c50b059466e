import { conditionalUpdate, type SqlPort } from 'pawl';
import { onDatabase, race } from './stage.ts';

let charges = 0;

/** Whoever moves the order from WAITING to PENDING charges it. Everybody else is told `wrong-state`. */
async function pay(sql: SqlPort, orderId: number) {
  const order = { table: 'example_order', key: { id: orderId } };
  const claimed = await conditionalUpdate(sql, {
    ...order,
    expect: { status: 'WAITING' },
    set: { status: 'PENDING' },
  });
  if (claimed.outcome === 'refused') return claimed;
  charges++; // Here goes the call to the provider: no transaction is open, no connection is held.
  return conditionalUpdate(sql, { ...order, expect: { status: 'PENDING' }, set: { status: 'PAID' } });
}

await onDatabase({ example_order: 'id integer PRIMARY KEY, status varchar(10)' }, async (sql) => {
  await sql.execute({ text: "INSERT INTO example_order VALUES (7, 'WAITING')", values: [] });
  console.log(await race(50, () => pay(sql, 7)));
  console.log(`charges: ${charges}`);
});
