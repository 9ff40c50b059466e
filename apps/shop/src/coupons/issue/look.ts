import { sql } from 'kysely';
import type { ShopDatabase, ShopSql, ShopTransaction, Standing } from '../../store/database.ts';
import { clock } from '../../store/expressions.ts';
import { couponOf } from '../coupon.ts';
import type { Sighting } from '../rules.ts';
import type { Issue } from './strategy.ts';

/** What a member who asks for a coupon is judged by, with the version of the coupon's row. */
export interface Look extends Sighting {
  readonly version: number;
}

/** Of a member who was never given one. */
export const STANDING_OF_STRANGERS: Standing = 'GENERAL';

/**
 * Reads all that decides about an issue in one statement, without a lock: it may be another a moment later.
 *
 * @returns undefined where there is no such coupon
 */
export async function look(
  db: ShopDatabase | ShopTransaction['trx'],
  { dialect }: Pick<ShopSql, 'dialect'>,
  { couponId, memberId, trace }: Pick<Issue, 'couponId' | 'memberId' | 'trace'>,
): Promise<Look | undefined> {
  const row = await db
    .selectFrom('coupon')
    .selectAll('coupon')
    .select((query) => [
      clock({ dialect }).as('now'),
      query.selectFrom('member_standing').select('standing').where('member_id', '=', memberId).as('standing'),
      query
        .selectFrom('issued_coupon')
        .select(sql<number>`1`.as('one'))
        .whereRef('coupon_id', '=', 'coupon.id')
        .where('member_id', '=', memberId)
        .limit(1)
        .as('already_issued'),
    ])
    .where('id', '=', couponId)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  trace.mark('read');
  return {
    coupon: couponOf(row),
    quotaDay: row.quota_day,
    quotaUsed: row.quota_used,
    version: row.version,
    now: row.now,
    standing: row.standing ?? STANDING_OF_STRANGERS,
    alreadyIssued: row.already_issued !== null,
  };
}

/** The same in a transaction, of a coupon that is known to exist: none is ever deleted. */
export async function lookAgain({ trx, dialect }: ShopTransaction, issue: Issue): Promise<Look> {
  const seen = await look(trx, { dialect }, issue);
  if (seen === undefined) throw couponIsGone(issue);
  return seen;
}

export function couponIsGone({ couponId }: Pick<Issue, 'couponId'>): Error {
  return new Error(`the coupon ${couponId} is gone`);
}
