import type { StrictServer } from '@pawl/service-kit';
import { type Static, Type } from 'typebox';
import { type Answer, ErrorBody, refusal, success } from '../answer.ts';
import type { Book, Transaction } from '../book.ts';
import type { Exchange } from '../exchange.ts';
import type { FaultRules } from '../faults/rules.ts';
import { TransactionBody, transactionBody } from '../payment.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 5000;

/** ISO 8601 to the second or finer. Without a zone it is Seoul's time, as with the provider. */
const Moment = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,3})?(Z|[+-]\\d{2}:\\d{2})?$',
});

const Query = Type.Object(
  {
    startDate: Moment,
    endDate: Moment,
    /** The `transactionKey` that ended the page before. */
    startingAfter: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    // Digits, not a number: the converter of query strings would read 1.5 as 1.
    limit: Type.Optional(Type.String({ pattern: '^[1-9]\\d{0,3}$' })),
  },
  { additionalProperties: false },
);

/** All captures and refunds from `startDate` to `endDate`, both included, in their order, page by page. */
export function registerTransactions(
  app: StrictServer,
  exchange: Exchange,
  book: Book,
  faultRules: FaultRules,
): void {
  app.get(
    '/v1/transactions',
    {
      config: { auth: 'provider-key' },
      schema: {
        querystring: Query,
        response: { 200: Type.Array(TransactionBody), '4xx': ErrorBody, '5xx': ErrorBody },
      },
      errorHandler: exchange.refuseMalformed('transactions'),
    },
    (request, reply) =>
      exchange.answer(
        request,
        reply,
        { operation: 'transactions', paymentKey: null, orderId: null, amount: null },
        (decision, target) => page(book, request.query, faultRules.hiding(target, decision)),
      ),
  );
}

function page(
  book: Book,
  query: Static<typeof Query>,
  hidden: (transaction: Transaction) => boolean,
): Answer {
  const startMs = momentMs(query.startDate);
  const endMs = momentMs(query.endDate);
  const limit = Number(query.limit ?? DEFAULT_LIMIT);
  if (limit > MAX_LIMIT) return refusal('INVALID_REQUEST', `limit must be at most ${MAX_LIMIT}`);
  // Negated, so that a moment that does not exist (NaN) is refused too.
  if (!(startMs <= endMs))
    return refusal('INVALID_REQUEST', 'startDate and endDate must be moments, in this order');
  const { startingAfter } = query;
  const before = startingAfter === undefined ? -1 : book.transactionIndex(startingAfter);
  if (before === undefined) return refusal('INVALID_TRANSACTION_KEY');
  const found: Transaction[] = [];
  for (let index = before + 1; index < book.transactions.length && found.length < limit; index++) {
    const transaction = book.transactions[index];
    if (transaction === undefined) break;
    const atMs = Date.parse(transaction.at);
    if (atMs > endMs) break;
    if (atMs >= startMs && !hidden(transaction)) found.push(transaction);
  }
  return success(found.map(transactionBody));
}

function momentMs(text: string): number {
  return Date.parse(/(Z|[+-]\d{2}:\d{2})$/.test(text) ? text : `${text}+09:00`);
}
