import { claimUnique, conditionalUpdate } from 'pawl';
import type { ShopSql, Standing } from '../store/database.ts';

/** Says how the shop regards a member from now on. Of two at once the later one stays. */
export async function setStanding(store: ShopSql, memberId: number, standing: Standing): Promise<void> {
  const row = { table: 'member_standing', key: { member_id: memberId } };
  const first = await claimUnique(store, { ...row, values: { standing } });
  if (first.outcome === 'done') return;
  // Nothing is ever deleted from the table, so the row is there.
  await conditionalUpdate(store, { ...row, expect: {}, set: { standing } });
}
