import { type CompensationSent, refused } from 'pawl';
import { isDeclined } from '../src/payment/classify.ts';
import { judgeCancelError, judgeCanceled, judgeLookUpError, judgePayment } from '../src/payment/judge.ts';
import type { ChargeOutcome, PaymentProvider, PaymentRequest } from '../src/payment/provider.ts';
import {
  type Arrival,
  cancelFaults,
  confirmFaults,
  type ModelProvider,
  type ProviderAnswer,
  type ProviderFault,
} from './provider.ts';
import type { Actor, Message, StepFault } from './scheduler.ts';

/** Told of what is believed: the payment key that was asked for, and the one that the answer was made for. */
export type Believed = (paymentKey: string, madeFor: string) => void;

const lookUpFaults: readonly StepFault[] = ['no-answer'];

/**
 * The shop's client of the provider, over a network on which what is sent arrives at any later time, or is never answered. What
 * an answer means is judged by the shop's own functions.
 */
export function paymentClient(
  actor: Actor,
  provider: ModelProvider,
  onTheWay: Message[],
  believed: Believed,
): PaymentProvider {
  async function post(
    label: string,
    faults: readonly ProviderFault[],
    idempotencyKey: string | undefined,
    decide: (arrival: Arrival) => ProviderAnswer | undefined,
  ): Promise<ProviderAnswer | 'not-sent' | undefined> {
    const notSent = await actor.at(`sends ${label}`, ['not-sent']);
    if (notSent !== undefined) return 'not-sent';
    let isGoneOnWith = false;
    const arrive = (fault: string | undefined) => {
      const arrival = { idempotencyKey, fault: fault as ProviderFault | undefined, isGoneOnWith };
      isGoneOnWith = true;
      return decide(arrival);
    };
    const message: Message<ProviderAnswer> = {
      label,
      sender: actor,
      faults,
      isFrozen: false,
      arrive,
      answer: undefined,
    };
    onTheWay.push(message as Message);
    const answer = await actor.post(message);
    if (answer === undefined) return undefined;
    const lost = await actor.at(`hears ${shown(answer)} of ${label}`, lookUpFaults);
    return lost === undefined ? answer : undefined;
  }

  async function lookUp(paymentKey: string): Promise<ProviderAnswer | undefined> {
    const lost = await actor.at(`looks up ${paymentKey}`, lookUpFaults);
    const answer = provider.lookUp(paymentKey);
    if (lost !== undefined) return undefined;
    await actor.at(`sees ${shown(answer)}`);
    return answer;
  }

  const unknownCharge = (code: string): ChargeOutcome => ({
    outcome: 'unknown',
    code,
    resolve: () => Promise.reject(new Error('nobody asks')),
  });
  const unknown = (code: string) => ({ outcome: 'unknown', code }) as const;

  return {
    async confirm(payment) {
      const { paymentKey, orderId, requestId, idempotencyKey } = payment;
      const label = `confirm of ${orderId} by ${paymentKey} under ${idempotencyKey}`;
      const request = { paymentKey, orderId, requestId };
      const answer = await post(label, confirmFaults, idempotencyKey, (arrival) =>
        provider.confirm(request, arrival),
      );
      if (answer === 'not-sent') return { ...refused('overloaded'), code: 'NOT_CONNECTED' };
      if (answer === undefined) return unknownCharge('NO_ANSWER');
      if ('code' in answer) {
        if (!isDeclined(answer.code)) return unknownCharge(answer.code);
        believed(paymentKey, answer.madeFor);
        return { ...refused('declined'), code: answer.code, message: '' };
      }
      const found = judgePayment(payment, answer.body);
      if (found.outcome !== 'done') return unknownCharge('FOREIGN_ANSWER');
      believed(paymentKey, answer.madeFor);
      return found;
    },

    async lookUp(payment) {
      const answer = await lookUp(payment.paymentKey);
      if (answer === undefined) return unknown('NO_ANSWER');
      return 'code' in answer ? judgeLookUpError(answer.code) : judgePayment(payment, answer.body);
    },

    async cancel(payment: PaymentRequest): Promise<CompensationSent> {
      const { paymentKey, orderId, idempotencyKey } = payment;
      const label = `cancel of ${paymentKey} for ${orderId} under ${idempotencyKey}`;
      const answer = await post(label, cancelFaults, idempotencyKey, (arrival) =>
        provider.cancel(paymentKey, orderId, arrival),
      );
      if (answer === 'not-sent') return unknown('NOT_CONNECTED');
      if (answer === undefined) return unknown('NO_ANSWER');
      if ('code' in answer) return judgeCancelError(answer.code);
      const found = judgeCanceled(payment, answer.body);
      return found.outcome === 'done' ? { outcome: 'done' } : unknown('FOREIGN_ANSWER');
    },

    async lookUpCancel(payment) {
      const answer = await lookUp(payment.paymentKey);
      if (answer === undefined) return unknown('NO_ANSWER');
      return 'code' in answer ? judgeLookUpError(answer.code) : judgeCanceled(payment, answer.body);
    },

    async *transactions() {
      await actor.at("reads the provider's records");
      const transactions = provider.transactions();
      await actor.at(`reads ${transactions.map(({ paymentKey }) => paymentKey).join(', ') || 'nothing'}`);
      yield { transactions, unreadable: [] };
    },
  };
}

function shown(answer: ProviderAnswer): string {
  return 'code' in answer ? answer.code : String((answer.body as { status: string }).status);
}
