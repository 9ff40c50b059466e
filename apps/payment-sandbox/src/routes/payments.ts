import type { StrictServer } from '@pawl/service-kit';
import { Type } from 'typebox';
import { ErrorBody, refusal, success } from '../answer.ts';
import type { Book, Payment } from '../book.ts';
import { CancelBody, cancel } from '../cancel.ts';
import { ConfirmBody, type ConfirmRules, confirm } from '../confirm.ts';
import type { Exchange } from '../exchange.ts';
import { shown } from '../faults/lag.ts';
import type { FaultRules } from '../faults/rules.ts';
import { OrderId, PaymentKey } from '../fields.ts';
import type { Decision } from '../ledger.ts';
import { PaymentBody, paymentBody } from '../payment.ts';

const response = { 200: PaymentBody, '4xx': ErrorBody, '5xx': ErrorBody };
const config = { auth: 'provider-key' } as const;
const PaymentParams = Type.Object({ paymentKey: PaymentKey });
const OrderParams = Type.Object({ orderId: OrderId });

/** Confirm, look up, cancel. */
export function registerPayments(
  app: StrictServer,
  exchange: Exchange,
  book: Book,
  rules: ConfirmRules,
  faultRules: FaultRules,
): void {
  const found = (payment: Payment | undefined, { atMs }: Decision) =>
    payment === undefined ? refusal('NOT_FOUND') : success(paymentBody(payment, atMs));

  const orderIdOf = (paymentKey: string) => book.payment(paymentKey)?.session.orderId ?? null;

  app.post(
    '/v1/payments/confirm',
    { config, schema: { body: ConfirmBody, response }, errorHandler: exchange.refuseMalformed('confirm') },
    (request, reply) =>
      exchange.answer(request, reply, { operation: 'confirm', ...request.body }, (decision, { requestId }) =>
        confirm(book, rules, decision, request.body, requestId),
      ),
  );

  app.post(
    '/v1/payments/:paymentKey/cancel',
    {
      config,
      schema: { params: PaymentParams, body: CancelBody, response },
      errorHandler: exchange.refuseMalformed('cancel'),
    },
    (request, reply) => {
      const { paymentKey } = request.params;
      const amount = request.body.cancelAmount ?? null;
      return exchange.answer(
        request,
        reply,
        { operation: 'cancel', paymentKey, orderId: orderIdOf(paymentKey), amount },
        (decision, { requestId }) => cancel(book, decision, paymentKey, request.body, requestId),
      );
    },
  );

  app.get(
    '/v1/payments/:paymentKey',
    { config, schema: { params: PaymentParams, response }, errorHandler: exchange.refuseMalformed('lookup') },
    (request, reply) => {
      const { paymentKey } = request.params;
      return exchange.answer(
        request,
        reply,
        { operation: 'lookup', paymentKey, orderId: orderIdOf(paymentKey), amount: null },
        (decision, target) => {
          const payment = book.payment(paymentKey);
          return found(payment && shown(payment, faultRules.hiding(target, decision)), decision);
        },
      );
    },
  );

  app.get(
    '/v1/payments/orders/:orderId',
    { config, schema: { params: OrderParams, response }, errorHandler: exchange.refuseMalformed('lookup') },
    (request, reply) => {
      const { orderId } = request.params;
      return exchange.answer(
        request,
        reply,
        { operation: 'lookup', paymentKey: null, orderId, amount: null },
        (decision, target) => {
          const hidden = faultRules.hiding(target, decision);
          const payment = book.paymentOfOrder(orderId, (whole) => shown(whole, hidden));
          return found(payment, decision);
        },
      );
    },
  );
}
