import { type DurableCallRules, durableCallRules, type Heard, type Holding, type Move } from 'pawl';

/** The rule in place of which a mutant has its own; undefined: nothing of its own here. */
type Instead = <Value>(holding: Holding, heard: Heard<Value>) => Move<Value> | undefined;

export function instead(rule: Instead): Partial<DurableCallRules> {
  return { next: (holding, heard) => rule(holding, heard) ?? durableCallRules.next(holding, heard) };
}

export const releaseAsNotFound = { do: 'release', why: { reason: 'not-found', code: undefined } } as const;

/** A configuration in which little else happens, so that a mutant is found soon. */
export const plain = {
  honoursKeys: true,
  replaysErrors: false,
  guards: 'after-session',
  declines: false,
  cancels: 0,
  reconciliations: 0,
  hasOutsider: false,
} as const;

export const ofOrderA = [
  { orderId: 'A', paymentKey: 'a1' },
  { orderId: 'A', paymentKey: 'a2' },
  { orderId: 'A', paymentKey: 'a1' },
];

/** Two orders, and one payment key for both. */
export const ofBoth = [
  { orderId: 'A', paymentKey: 'a1' },
  { orderId: 'B', paymentKey: 'a1' },
  { orderId: 'A', paymentKey: 'a2' },
];
