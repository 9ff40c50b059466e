import { setTimeout as sleep } from 'node:timers/promises';
import { claimUnique, migrate, pawlTables, renewClaim, type SqlPort } from 'pawl';
import { onDatabase, race } from './stage.ts';

const expiryIn = (leaseMs: number) => ({ column: 'expires_at', leaseMs });

const settlementOf = (day: string) => ({ table: pawlTables().claim, key: { claim_key: `settle ${day}` } });

/** Each claim has an owner of its own: under one name, a stalled holder and its successor are the same. */
const claim = (sql: SqlPort, day: string, owner: string, leaseMs: number) =>
  claimUnique(sql, { ...settlementOf(day), values: { owner }, expiry: expiryIn(leaseMs) });

await onDatabase({}, async (sql) => {
  await migrate(sql);
  const day = crypto.randomUUID();
  const stalled = crypto.randomUUID();
  await claim(sql, day, stalled, 500); // And nothing more is heard of it.
  await sleep(600);
  console.log(await race(50, () => claim(sql, day, crypto.randomUUID(), 60_000)));
  const renewal = { ...settlementOf(day), owner: { owner: stalled }, expiry: expiryIn(60_000) };
  const renewed = await renewClaim(sql, renewal);
  console.log(`the stalled one: ${renewed.outcome === 'done' ? 'renewed' : renewed.reason}`);
});
