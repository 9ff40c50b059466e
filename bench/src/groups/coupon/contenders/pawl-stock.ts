import { done, type RefusalReason, refused, type StockDefinition, type StockRequest, stock } from 'pawl';
import type { DatabaseName } from '../../operations/contenders/database.ts';
import { openGroupPort } from '../../operations/contenders/group-port.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, SOLD_OUT } from '../coupon.ts';

export interface CouponTables {
  readonly coupon: string;
  readonly issued: string;
}

const TABLES: CouponTables = { coupon: 'coupon', issued: 'issued' };

/** The library's limited number. */
export function pawlStock(database: DatabaseName, tables = TABLES): OpenOperation {
  return async (urls) => {
    const { sql, close } = openGroupPort(database, urls);
    const coupons = stock(sql, definitionFor(tables), { name: 'coupon' });
    return {
      async operate(member) {
        const taken = await coupons.take({ stock: COUPON, claimant: member });
        return taken.outcome === 'refused' ? taken.reason : taken.outcome;
      },
      close,
    };
  };
}

function definitionFor({
  coupon,
  issued,
}: CouponTables): StockDefinition<StockRequest, number, RefusalReason> {
  return {
    rows: { table: coupon, key: 'id', columns: ['remaining'] },
    claims: {
      table: issued,
      stock: 'coupon_id',
      claimant: 'member_id',
      columns: ['serial'],
      types: { coupon_id: 'bigint', member_id: 'bigint', serial: 'integer', issued_at: 'timestamptz' },
    },
    take({ row, claimed, now }) {
      if (claimed) return refused(ALREADY_ISSUED);
      const remaining = Number(row.remaining);
      if (remaining < 1) return refused(SOLD_OUT);
      const set = { remaining: remaining - 1 };
      return done({ set, claim: { serial: remaining, issued_at: now }, value: remaining });
    },
    recall: (claim) => (claim === undefined ? refused(SOLD_OUT) : done(Number(claim.serial))),
  };
}
