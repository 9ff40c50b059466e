import { done, refused } from 'pawl';
import type { ChargeValue } from '../../src/lotto/purchase/durable/definition.ts';
import type { Mutant, Parts, PurchaseDefinition } from '../mutant.ts';
import type { ProviderAnswer } from '../provider.ts';
import { ofBoth, ofOrderA, plain } from './where.ts';

/** Rules of what a look-up shows: only a payment of our own key, order and sum is ours. */

export const orderNotCompared: Mutant = {
  name: 'a look-up whose order id is not compared',
  harm: "whoever confirms his order with another order's payment key gets it for nothing",
  where: { ...plain, wishes: ofBoth },
  seed: 1,
  definition: (definition, parts) =>
    lookingUp(definition, parts, ({ provider }, { paymentKey }) => provider.lookUp(paymentKey)),
};

export const keyNotCompared: Mutant = {
  name: 'a look-up whose payment key is not compared',
  harm: "the order's stray capture is billed, and given back",
  where: { ...plain, hasOutsider: true, wishes: [...ofOrderA].reverse() },
  seed: 5,
  definition: (definition, parts) =>
    lookingUp(definition, parts, ({ provider }, { orderId }) => provider.lookUpOrder(orderId)),
};

export const foreignRefunded: Mutant = {
  name: 'a foreign payment is given back',
  harm: "whoever confirms his order with another order's payment key undoes the other's payment",
  where: { ...plain, wishes: ofBoth },
  seed: 1,
  definition(definition, parts) {
    const foreign = orderNotCompared.definition?.(definition, parts) ?? definition;
    return {
      ...foreign,
      async settle(transaction, call, value) {
        if (value.orderId !== call.request.orderId) return refused('wrong-state');
        return definition.settle(transaction, call, value);
      },
    };
  },
};

/** Whatever is DONE counts. */
function lookingUp(
  definition: PurchaseDefinition,
  parts: Parts,
  ask: (parts: Parts, request: { paymentKey: string; orderId: string }) => ProviderAnswer,
): PurchaseDefinition {
  return {
    ...definition,
    async lookUp({ request }) {
      await parts.actor.at('looks up');
      const answer = ask(parts, request);
      await parts.actor.at('has looked up');
      if ('code' in answer) return { outcome: 'not-found' };
      const body = answer.body as ChargeValue & { readonly status: string };
      if (body.status !== 'DONE') return { outcome: 'not-found' };
      parts.believed(request.paymentKey, answer.madeFor);
      return done(body);
    },
  };
}
