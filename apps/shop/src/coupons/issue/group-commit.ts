import { setTimeout as sleep } from 'node:timers/promises';
import type { Selectable } from 'kysely';
import {
  type ColumnTypes,
  type Done,
  done,
  type Outcome,
  type Refused,
  refused,
  StoreError,
  stock,
  type Unknown,
} from 'pawl';
import type { Database, Standing } from '../../store/database.ts';
import { couponColumns, couponOf } from '../coupon.ts';
import { takeOne } from '../rules.ts';
import { STANDING_OF_STRANGERS } from './look.ts';
import { issueRow, stockColumns } from './steps.ts';
import type { IssuedCoupon, IssueRefusal, IssueRequest, WholeStrategy } from './strategy.ts';

const COLUMNS = [...couponColumns, 'quota_day', 'quota_used', 'version'] as const;
const CLAIM_COLUMNS = ['serial', 'request_id', 'issued_at'] as const;

const CLAIM_TYPES = {
  coupon_id: 'text',
  claimed_by: 'bigint',
  member_id: 'bigint',
  serial: 'integer',
  strategy: 'text',
  instance: 'text',
  request_id: 'text',
  issued_at: 'timestamptz',
} as const satisfies ColumnTypes;

type CouponRow = Pick<Selectable<Database['coupon']>, (typeof COLUMNS)[number]>;
type ClaimRow = Pick<Selectable<Database['issued_coupon']>, (typeof CLAIM_COLUMNS)[number]>;

/** A request as the library's `stock` knows it. */
interface StockRequest {
  readonly stock: string;
  readonly claimant: number;
  readonly of: IssueRequest;
}

/** Of a COMMIT whose answer was lost: the rows know nothing of it. That the coupon is gone they cannot say: none is ever deleted. */
const NOTHING = 'wrong-state';

/** What became of a COMMIT whose answer was lost is looked for so often, after these pauses, in milliseconds: a server that has ended starts again. */
const LOOKS_AFTER_MS = [0, 100, 1_000];

/**
 * Those who ask at the same time share a transaction (`stock` of the library): it locks the coupon's row, reads all that decides, and
 * writes what was decided about one after the other. So there is one commit for as many as have come while the last one was under way,
 * and nobody looks before: the window, the member's standing and the day are decided under the lock.
 *
 * Who has one is seen by his claim: an issue of the unguarded strategies, which claim nothing, does not count.
 *
 * A lost answer to the COMMIT is looked for under the lock: whoever has it then finds his claim, or that nothing came of it.
 */
export const groupCommit: WholeStrategy = ({ groups, settings: { lockWaitMs, together } }) => {
  const coupons = stock<StockRequest, IssuedCoupon, IssueRefusal | typeof NOTHING>(
    groups,
    {
      rows: { table: 'coupon', key: 'id', columns: COLUMNS.filter((name) => name !== 'id') },
      claims: {
        table: 'issued_coupon',
        stock: 'coupon_id',
        claimant: 'claimed_by',
        columns: CLAIM_COLUMNS,
        types: CLAIM_TYPES,
      },
      claimants: { table: 'member_standing', key: 'member_id', columns: ['standing'] },
      take({ request: { of }, row, claimed, claimant, now }) {
        of.trace.mark('locked');
        const coupon = row as unknown as CouponRow;
        of.trace.mark('read');
        const seen = couponOf(coupon);
        const taken = takeOne({
          coupon: seen,
          quotaDay: coupon.quota_day,
          quotaUsed: coupon.quota_used,
          now,
          standing: (claimant?.standing as Standing | undefined) ?? STANDING_OF_STRANGERS,
          alreadyIssued: claimed,
        });
        if (taken.outcome !== 'done') return taken;
        const { serial, remaining } = taken.value;
        const { coupon_id: _, ...claim } = issueRow(of, taken.value, now);
        return done({
          // Counted up for the strategies beside it that need the version.
          set: { ...stockColumns(taken.value), version: coupon.version + 1 },
          claim,
          value: { serial, remaining, issuedAt: now, coupon: { ...seen, remaining } },
        });
      },
      recall: (claim, { of }, row) => recall(claim as ClaimRow | undefined, row as unknown as CouponRow, of),
    },
    { name: 'coupon', together, lockWaitMs: Math.max(1, lockWaitMs) },
  );

  return async (request) => {
    const { couponId, memberId, trace } = request;
    const taken = await coupons.take({ stock: couponId, claimant: memberId, of: request });
    const outcome = taken.outcome === 'unknown' ? await lookFor(taken) : taken;
    if (outcome.outcome === 'refused') {
      const { reason } = outcome;
      return reason === 'wrong-state'
        ? { outcome: 'objection', objection: 'coupon-not-found' }
        : refused(reason);
    }
    trace.mark('committed');
    return outcome;
  };
};

/** What the rows say of a request whose COMMIT was not answered. */
function recall(claim: ClaimRow | undefined, row: CouponRow, { actor }: IssueRequest) {
  if (claim === undefined) return refused(NOTHING);
  if (claim.request_id !== actor.requestId) return refused('already-issued');
  const { serial, issued_at: issuedAt } = claim;
  const remaining = row.number_of_coupons - serial;
  return done({ serial, remaining, issuedAt, coupon: { ...couponOf(row), remaining } });
}

/** @throws StoreError  Nothing came of it, or nobody knows. */
async function lookFor(lost: Unknown<IssuedCoupon>): Promise<Done<IssuedCoupon> | Refused<'already-issued'>> {
  let outcome: Outcome<IssuedCoupon> = lost;
  for (const pauseMs of LOOKS_AFTER_MS) {
    await sleep(pauseMs);
    outcome = await outcome.resolve();
    if (outcome.outcome !== 'unknown') break;
  }
  if (outcome.outcome === 'done') return outcome;
  if (outcome.outcome === 'unknown') {
    throw new StoreError('CONNECTION_LOST', 'unknown', 'what became of a COMMIT could not be read');
  }
  if (outcome.reason === 'already-issued') return refused(outcome.reason);
  throw new StoreError('ROLLED_BACK', 'none', 'a COMMIT was lost on its way');
}
