import { claimUnique, done, migrate, pawlTables, releaseClaim, type SqlPort } from 'pawl';
import { onDatabase, race } from './stage.ts';

let charges = 0;

/** Whoever inserts the payment key charges it. Everybody else is told whose it is. */
async function pay(sql: SqlPort, paymentKey: string, instance: string) {
  const claim = { table: pawlTables().claim, key: { claim_key: paymentKey } };
  const claimed = await claimUnique(sql, { ...claim, values: { owner: instance } });
  if (claimed.outcome === 'refused') return claimed;
  charges++;
  const declined = false;
  // Only after a definite no: released after a time-out, the next caller would charge a second time.
  if (declined) await releaseClaim(sql, { ...claim, owner: { owner: instance } });
  return done(undefined);
}

await onDatabase({}, async (sql) => {
  await migrate(sql);
  const paymentKey = `payment-${crypto.randomUUID()}`;
  console.log(await race(50, (caller) => pay(sql, paymentKey, `instance ${caller}`)));
  console.log(`charges: ${charges}`);
});
