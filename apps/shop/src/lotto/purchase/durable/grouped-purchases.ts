import {
  type Columns,
  done,
  type GroupedDurableCall,
  HELD,
  type Refused,
  refused,
  type SqlDialect,
  type SqlResult,
} from 'pawl';
import type { PublishStatus } from '../../../store/database.ts';
import type { Actor } from '../../publish.ts';
import { type ChargeRequest, type ChargeValue, type PurchaseAnswers, paymentIn } from './definition.ts';
import {
  type GroupedStatements,
  type NewBill,
  type ReadOrder,
  rowsAs,
  type WrittenBill,
} from './grouped-rows.ts';
import { mysqlStatements } from './grouped-rows-mysql.ts';
import { postgresStatements } from './grouped-rows-postgres.ts';
import { billOf, type OrderClaim, type PaymentAttempt } from './rows.ts';

/** A member's wish to pay an order, with what goes with it to the provider. */
export interface PurchaseClaim extends OrderClaim {
  readonly requestId: string;
  readonly testCode: string | null;
}

/** `why`: what the order was instead, or what kept it from being paid. Undefined: it is not the member's, or not as he says. */
export interface ClaimRefused extends Refused<'wrong-state'> {
  readonly why?: Exclude<PublishStatus, 'WAITING'> | 'round-closed' | 'payment-given-back';
}

export interface GroupedPurchasesOptions {
  readonly dialect: SqlDialect;
  readonly answers: PurchaseAnswers;
  readonly attemptOf: (call: { readonly request: ChargeRequest }) => PaymentAttempt;
  /** After its claim no capture of an attempt can come to light any more, in milliseconds. */
  readonly finalAfterMs: number;
}

/** A publish as those who were decided about before it in the same transaction leave it. */
interface Publish {
  readonly id: number;
  readonly order_id: string;
  readonly status: PublishStatus;
  readonly version: number;
  readonly attempt: number;
}

const PUBLISH = 'lotto_publish';
const COLUMNS = ['id', 'order_id', 'status', 'version', 'attempt'];

/**
 * The claims, and the settlements, of members who pay at the same time.
 *
 * All of them lock in one order: publishes by their ids, then orders and rounds, shared, then records; so do those who come alone, and the draw has
 * its round alone. In a batch nobody waits for any of these, so that a batch is in nobody's circle: what somebody else has is passed
 * over, and waited for with nothing held before it. What decides is read after the locks are had; who is refused without them is refused by one
 * statement (`look`).
 */
export function groupedPurchases({
  dialect,
  answers,
  attemptOf,
  finalAfterMs,
}: GroupedPurchasesOptions): GroupedDurableCall<PurchaseClaim, ChargeRequest, ChargeValue, ClaimRefused> {
  const { batch } = dialect;
  const statements: GroupedStatements = dialect.name === 'mysql' ? mysqlStatements : postgresStatements;

  const lockPublishes = (ids: readonly number[], wait: boolean) =>
    batch.lockRows({ table: PUBLISH, keys: ids.map((id) => ({ id })), columns: COLUMNS, wait });

  const readStrays = (paymentKeys: readonly string[]) =>
    batch.readRows({
      table: 'stray_capture',
      keys: [...new Set(paymentKeys)].map((payment_key) => ({ payment_key })),
      columns: ['payment_key'],
    });

  const moves = (locked: SqlResult, from: PublishStatus, to: PublishStatus) =>
    new Moves(new Map(rowsAs<Publish>(locked.rows).map((row) => [row.id, row])), from, to, dialect);

  return {
    claims: {
      subjectOf: ({ orderId }) => orderId,

      read(claims, wait) {
        const ids = distinct(claims.map(({ lottoPublishId }) => lottoPublishId));
        return [
          lockPublishes(ids, wait),
          statements.lockOrders(distinct(claims.map(({ orderId }) => orderId)), wait),
          statements.readOrders(ids),
          readStrays(claims.map(({ paymentKey }) => paymentKey)),
        ];
      },

      decide(_claims, read) {
        const [locked, parents, there, strays] = read as [SqlResult, SqlResult, SqlResult, SqlResult];
        const orders = new Map(rowsAs<ReadOrder>(there.rows).map((row) => [row.id, row]));
        const isStray = new Set(strays.rows.map((row) => String(row.payment_key)));
        const isLocked = ordersIn(parents);
        const claimed = moves(locked, 'WAITING', 'PENDING');
        return {
          claim(claim) {
            const { orderId, lottoPublishId, memberId, paymentKey, actor, requestId, testCode } = claim;
            const order = orders.get(lottoPublishId);
            if (!isOf(claim, order)) return refused('wrong-state');
            const publish = claimed.publish(lottoPublishId);
            if (publish === undefined || !isLocked.has(orderId)) return HELD;
            const objection = objectionTo(publish.status, order);
            if (objection !== undefined) return objection;
            if (isStray.has(paymentKey)) return refusedAs('payment-given-back');
            claimed.move(publish, actor, { payment_key: paymentKey, payment_outcome: 'in-progress' });
            const request: ChargeRequest = {
              ...{ orderId, lottoPublishId, memberId, paymentKey, requestId, testCode, isStray: false },
              attempt: publish.attempt,
              lottoRoundInfoId: order.round_id,
              amount: order.amount,
              currency: order.currency,
            };
            return done({ subject: orderId, attempt: publish.attempt, request, finalAfterMs });
          },
          writes: () => claimed.writes(),
        };
      },

      look: {
        read: (claims) => [
          statements.readOrders(distinct(claims.map(({ lottoPublishId }) => lottoPublishId))),
        ],
        objections(claims, [there]) {
          const orders = new Map(rowsAs<ReadOrder>(there?.rows ?? []).map((row) => [row.id, row]));
          return claims.map((claim) => {
            const order = orders.get(claim.lottoPublishId);
            return isOf(claim, order) ? objectionTo(order.status, order) : refused('wrong-state');
          });
        },
      },
    },

    settlements: {
      read(settlements, wait) {
        const requests = settlements.map(({ call }) => call.request);
        const ids = distinct(requests.map(({ lottoPublishId }) => lottoPublishId));
        return [
          lockPublishes(ids, wait),
          statements.lockOrders(distinct(requests.map(({ orderId }) => orderId)), wait),
          statements.lockRounds(distinct(requests.map(({ lottoRoundInfoId }) => lottoRoundInfoId)), wait),
          statements.readOrders(ids),
          readStrays(requests.map(({ paymentKey }) => paymentKey)),
        ];
      },

      decide(_settlements, read) {
        const [locked, parents, rounds, there, strays] = read as [
          SqlResult,
          SqlResult,
          SqlResult,
          SqlResult,
          SqlResult,
        ];
        const isLocked = ordersIn(parents);
        const orders = new Map(rowsAs<ReadOrder>(there.rows).map((row) => [row.id, row]));
        const isUndrawn = new Set(rounds.rows.map(({ id }) => Number(id)));
        const isStray = new Set(strays.rows.map((row) => String(row.payment_key)));
        const completed = moves(locked, 'PENDING', 'COMPLETE');
        const bills: NewBill[] = [];
        return {
          settle({ call, value }) {
            const attempt = attemptOf(call);
            const { lottoPublishId, paymentKey, actor } = attempt;
            const order = orders.get(lottoPublishId);
            if (order === undefined || order.is_over === 1 || isStray.has(paymentKey)) {
              return refused('not-open');
            }
            const publish = completed.publish(lottoPublishId);
            if (publish === undefined || !isLocked.has(attempt.orderId)) return HELD;
            // Neither drawn nor called off, but somebody has the round, as who draws it.
            if (!isUndrawn.has(attempt.lottoRoundInfoId)) return HELD;
            if (publish.status !== 'PENDING' || publish.attempt !== attempt.attempt) {
              return refused('not-open');
            }
            completed.move(publish, actor, { payment_key: paymentKey, payment_outcome: 'captured' });
            const payment = paymentIn(call, value);
            bills.push({ ...attempt, ...payment });
            return done((written) => {
              const all = rowsAs<WrittenBill>(written.at(-1)?.rows ?? []);
              const bill = all.findLast((one) => one.lotto_publish_id === lottoPublishId);
              if (bill === undefined) throw new Error(`order ${attempt.orderId} was given no bill`);
              return answers.billed(billOf(attempt, payment, bill));
            });
          },
          writes: () => [...completed.writes(), ...statements.insertBills(bills)],
        };
      },
    },
  };
}

/** Whether the order is the member's, and as he says. */
function isOf(
  { orderId, memberId, amount }: PurchaseClaim,
  order: ReadOrder | undefined,
): order is ReadOrder {
  if (order?.order_id !== orderId || order.member_id !== memberId) return false;
  return amount === undefined || amount === order.amount;
}

/** @param status  Of its publish. */
function objectionTo(status: PublishStatus, order: ReadOrder): ClaimRefused | undefined {
  if (status !== 'WAITING') return refusedAs(status);
  return order.on_sale === 1 ? undefined : refusedAs('round-closed');
}

function refusedAs(why: ClaimRefused['why'] & string): ClaimRefused {
  return { ...refused('wrong-state'), why };
}

/** Publishes that are moved along one edge of their state machine, each with its audit: see `moveStatus`. */
class Moves {
  readonly #publishes: Map<number, Publish>;
  readonly #from: PublishStatus;
  readonly #to: PublishStatus;
  readonly #dialect: SqlDialect;
  readonly #keys: Columns[] = [];
  readonly #sets: Columns[] = [];
  readonly #audits: Columns[] = [];

  constructor(publishes: Map<number, Publish>, from: PublishStatus, to: PublishStatus, dialect: SqlDialect) {
    this.#publishes = publishes;
    this.#from = from;
    this.#to = to;
    this.#dialect = dialect;
  }

  /** As it stands now; undefined: it was not locked. */
  publish(id: number): Publish | undefined {
    return this.#publishes.get(id);
  }

  move(publish: Publish, { strategy, instance, requestId }: Actor, set: Columns): void {
    const { id, order_id } = publish;
    const version = publish.version + 1;
    this.#publishes.set(id, { ...publish, status: this.#to, version });
    this.#keys.push({ id });
    this.#sets.push({ status: this.#to, version, ...set, payment_code: null });
    this.#audits.push({
      order_id,
      from_status: this.#from,
      to_status: this.#to,
      strategy,
      instance,
      request_id: requestId,
    });
  }

  writes() {
    const { updateRows, insertRows } = this.#dialect.batch;
    return [
      ...updateRows({ table: PUBLISH, keys: this.#keys, set: this.#sets }),
      insertRows({ table: 'order_status_audit', rows: this.#audits }),
    ];
  }
}

function ordersIn({ rows }: SqlResult): ReadonlySet<string> {
  return new Set(rowsAs<{ order_id: string }>(rows).map(({ order_id }) => order_id));
}

function distinct<Id>(ids: readonly Id[]): readonly Id[] {
  return [...new Set(ids)];
}
