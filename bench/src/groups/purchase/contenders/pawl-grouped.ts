import {
  type ClaimedAttempt,
  type Columns,
  type Done,
  done,
  durableCalls,
  type GroupedDurableCall,
  HELD,
  type Refused,
  type Row,
  refused,
  type SqlPort,
  type SqlResult,
  sqlDurableCallStore,
} from 'pawl';
import type { DatabaseName } from '../../operations/contenders/database.ts';
import { openGroupPort } from '../../operations/contenders/group-port.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { AMOUNT, paymentKeyOf } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { type Approval, answerOf, purchaseWith, requestOf, wordOf } from './pawl-calls.ts';

type Objection = Refused<'wrong-state'>;

const TABLE = 'ticket_order';
const NOW = 'now_ms';
const COLUMNS = ['id', 'status', 'attempt'];
const TYPES = {
  id: 'bigint',
  status: 'text',
  payment_key: 'text',
  approval: 'text',
  order_id: 'bigint',
  amount: 'integer',
} as const;

/** Claims and settlements of all callers of the process share transactions. */
export function pawlGrouped(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { sql, close } = openGroupPort(database, urls);
    const store = sqlDurableCallStore(sql, { groups: { sql } });
    const calls = durableCalls(store, {
      ...purchaseWith(openGateway()),
      grouped: groupedWith(sql),
    });
    return {
      operate: async (order) => wordOf(await calls.runGrouped(requestOf(order), order)),
      close,
    };
  };
}

function groupedWith({ dialect }: SqlPort): GroupedDurableCall<number, null, Approval, Objection> {
  const { batch } = dialect;
  const locking = (orders: readonly number[], wait: boolean) => {
    const keys = [...new Set(orders)].map((id) => ({ id }));
    return [batch.lockRows({ table: TABLE, keys, columns: COLUMNS, wait, nowAs: NOW })];
  };
  return {
    claims: {
      subjectOf: String,
      optimistic: (orders) => ({
        claimed: orders.map((id) => ({ subject: String(id), attempt: 1, request: null })),
        writes: batch.changeRows({
          table: TABLE,
          types: TYPES,
          keys: orders.map((id) => ({ id })),
          expect: { status: 'PENDING', attempt: 1 },
          set: orders.map((id) => ({ status: 'PAYING', payment_key: paymentKeyOf(id) })),
        }),
      }),
      read: locking,
      decide(_claims, read, waited) {
        const orders = ordersFrom(read);
        const moved = new Set<number>();
        return {
          claim(id): Done<ClaimedAttempt<null>> | Objection | typeof HELD {
            const row = orders.get(id);
            if (row === undefined) return waited ? refused('wrong-state') : HELD;
            if (row.status !== 'PENDING' || moved.has(id)) return refused('wrong-state');
            moved.add(id);
            return done({ subject: String(id), attempt: Number(row.attempt), request: null });
          },
          writes() {
            const keys = [...moved].map((id) => ({ id }));
            const set = [...moved].map((id) => ({ status: 'PAYING', payment_key: paymentKeyOf(id) }));
            return batch.updateRows({ table: TABLE, keys, set, types: TYPES });
          },
        };
      },
    },
    settlements: {
      optimistic(settlements) {
        const paid = settlements.map(({ call, value }) => ({ id: Number(call.subject), ...value }));
        return {
          answers: paid.map(({ approval }) => answerOf(approval)),
          writes: [
            ...batch.changeRows({
              table: TABLE,
              types: TYPES,
              keys: paid.map(({ id }) => ({ id })),
              expect: { status: 'PAYING' },
              set: paid.map(({ approval }) => ({ status: 'PAID', approval })),
            }),
            batch.insertRows({
              table: 'bill',
              types: TYPES,
              rows: paid.map(({ id, approval }) => ({ order_id: id, amount: AMOUNT, approval })),
              now: ['paid_at'],
            }),
          ],
        };
      },
      read: (settlements, wait) =>
        locking(
          settlements.map(({ call }) => Number(call.subject)),
          wait,
        ),
      decide(_settlements, read, waited) {
        const orders = ordersFrom(read);
        const paid: { readonly id: number; readonly approval: string; readonly at: Date }[] = [];
        return {
          settle({ call, value }) {
            const id = Number(call.subject);
            const row = orders.get(id);
            if (row === undefined) return waited ? refused('wrong-state') : HELD;
            if (row.status !== 'PAYING') return refused('wrong-state');
            paid.push({ id, approval: value.approval, at: new Date(Number(row[NOW])) });
            return done(answerOf(value.approval));
          },
          writes() {
            const keys = paid.map(({ id }) => ({ id }));
            const set = paid.map(({ approval }) => ({ status: 'PAID', approval }));
            const bills = paid.map(
              ({ id, approval, at }): Columns => ({ order_id: id, amount: AMOUNT, approval, paid_at: at }),
            );
            return [
              ...batch.updateRows({ table: TABLE, keys, set, types: TYPES }),
              batch.insertRows({ table: 'bill', rows: bills }),
            ];
          },
        };
      },
    },
  };
}

/** The orders that are locked. */
function ordersFrom([locked]: readonly SqlResult[]): ReadonlyMap<number, Row> {
  return new Map((locked?.rows ?? []).map((row) => [Number(row.id), row]));
}
