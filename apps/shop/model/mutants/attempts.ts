import { type DurableCall, refused, type StoredAnswer } from 'pawl';
import type { Mutant, Parts } from '../mutant.ts';
import { keyOf } from '../store.ts';
import { instead, ofOrderA, plain } from './where.ts';

/** Rules of one attempt: who may write, what is sent, and what is believed of a decline. */

export const noFence: Mutant = {
  name: 'no fence',
  harm: 'an owner who wakes up settles, or releases, what somebody else has taken over',
  where: { ...plain, wishes: ofOrderA },
  seed: 168,
  store({ store }) {
    const fenceOf = (id: DurableCall['id']) => store.records.get(keyOf(id))?.call.fence ?? 0;
    return {
      ...store,
      settle: (id, _fence, decide) => store.settle(id, fenceOf(id), decide),
      change: (id, _fence, change) => store.change(id, fenceOf(id), change),
      forget: (id, _fence, give) => store.forget(id, fenceOf(id), give),
    };
  },
};

export const declineAfterTakeover: Mutant = {
  name: 'release on a decline after a takeover',
  harm: 'the old owner still sends what was released, and it is accepted',
  where: { ...plain, wishes: ofOrderA },
  seed: 8,
  rules: () =>
    instead((_, heard) =>
      heard.of === 'send' && heard.sent.outcome === 'refused'
        ? ({ do: 'release', why: { reason: 'declined', code: heard.sent.code } } as const)
        : undefined,
    ),
};

export const sentTwice: Mutant = {
  name: 'release after the owner sent twice',
  harm: 'the second was declined, and the first, still on its way, is accepted',
  where: { ...plain, wishes: ofOrderA },
  seed: 154,
  rules() {
    let again = 0;
    return instead(({ call }, heard) => {
      const isUnknown = heard.of === 'send' && heard.sent.outcome === 'unknown';
      return isUnknown && call.fence === 1 && again++ === 0 ? { do: 'send' } : undefined;
    });
  },
};

export const declineStoredFirst: Mutant = {
  name: 'a decline stored before the release',
  harm: 'the member is told that nothing was charged; the owner dies, and recovery charges him',
  where: { ...plain, wishes: ofOrderA },
  seed: 94,
  store({ store, actor }) {
    return {
      ...store,
      async settle(id, fence, decide) {
        const record = store.records.get(keyOf(id));
        if (record?.call.fence !== fence || fence > 1) return store.settle(id, fence, decide);
        const answer = await foretold(store, id, fence, decide);
        if (answer !== undefined) {
          store.records.put({ undo: [] }, keyOf(id), { ...record, call: { ...record.call, answer } });
          await actor.at('has stored the decline');
        }
        return store.settle(id, fence, decide);
      },
    };
  },
};

export const oneKey: Mutant = {
  name: 'one idempotency key for all attempts',
  harm: "the next attempt is given the last one's answer",
  where: { ...plain, replaysErrors: true, wishes: ofOrderA },
  seed: 1,
  rules: () => ({ token: ({ subject }) => subject }),
};

export const keyPerTry: Mutant = {
  name: 'a new idempotency key for each try',
  harm: 'the provider takes the second try for another payment, and captures again',
  where: { ...plain, guards: 'never', wishes: ofOrderA },
  seed: 1,
  rules: () => ({ token: ({ subject, attempt, fence }) => `${subject}:${attempt}:${fence}` }),
};

/** The answer of a release that a transaction is about to make. */
async function foretold(
  store: Parts['store'],
  id: DurableCall['id'],
  fence: number,
  decide: Parameters<Parts['store']['settle']>[2],
): Promise<StoredAnswer | undefined> {
  let answer: StoredAnswer | undefined;
  await store.settle(id, fence, async (trx) => {
    const decided = await decide(trx);
    if (decided.outcome === 'done' && decided.value.state === 'released') answer = decided.value.answer;
    return refused('contended');
  });
  return answer;
}
