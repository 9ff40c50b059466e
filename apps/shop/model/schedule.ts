import fc from 'fast-check';
import { LOOK_UP_LAG_MS } from './clock.ts';
import type { ProviderRules } from './provider.ts';

/** What a client wants: an order paid with a payment key, under an idempotency key, which is the payment key if it sends none. */
export interface Wish {
  readonly orderId: string;
  readonly paymentKey: string;
  readonly idempotencyKey?: string;
}

/** Whose orders these are. */
export const orders = [
  { orderId: 'A', memberId: 1 },
  { orderId: 'B', memberId: 2 },
] as const;

/** The payment windows that are open from the beginning, and the orders that they are for. */
export const sessions = [
  { paymentKey: 'a1', orderId: 'A' },
  { paymentKey: 'a2', orderId: 'A' },
  { paymentKey: 'b1', orderId: 'B' },
] as const;

/** Among them: twice the same, another payment key, the same one under another idempotency key, and that of another's order. */
const wishes: readonly Wish[] = [
  { orderId: 'A', paymentKey: 'a1' },
  { orderId: 'A', paymentKey: 'a2' },
  { orderId: 'A', paymentKey: 'a1', idempotencyKey: 'header' },
  { orderId: 'B', paymentKey: 'a1' },
  { orderId: 'B', paymentKey: 'b1' },
  { orderId: 'A', paymentKey: 'a2', idempotencyKey: 'header' },
  { orderId: 'A', paymentKey: 'b1' },
  { orderId: 'B', paymentKey: 'b1', idempotencyKey: 'header' },
];

/** Which world a schedule runs in. */
export interface Configuration extends ProviderRules {
  /** Whether the card company always says no to `a1`. */
  readonly declines: boolean;
  /** Whether a client who was told that nothing was charged tries a fresh payment key. */
  readonly triesAnother: boolean;
  /** Of each client. */
  readonly wishes: readonly Wish[];
  /** How often the member takes back what he has paid for, perhaps at the same time. */
  readonly cancels: number;
  /** How often our records are compared with the provider's, perhaps at the same time. */
  readonly reconciliations: number;
  /** Whether an old deployment confirms `a1` too, without the rules: a stray capture, unless it becomes the attempt's own. */
  readonly hasOutsider: boolean;
}

/**
 * After so many steps of the fair order, something else: `pick` says what. Between these, whoever is at it goes on, and the next
 * begins when he has ended.
 */
export interface Intervention {
  readonly after: number;
  readonly pick: number;
}

export interface Schedule {
  readonly configuration: Configuration;
  readonly interventions: readonly Intervention[];
}

const MOST_INTERVENTIONS = 8;
const LONGEST_GAP = 14;
const PICKS = 16 * 16;

/** In every configuration, but for what is fixed; what keeps a purchase from its usual course is rarer. */
export function schedules(fixed: Partial<Configuration> = {}): fc.Arbitrary<Schedule> {
  const guards = fc.constantFrom('after-session', 'before-session', 'never');
  const configuration = fc
    .record({
      honoursKeys: fc.boolean(),
      replaysErrors: fc.boolean(),
      guards: guards as fc.Arbitrary<Configuration['guards']>,
      lookUpLagMs: fc.constantFrom(0, LOOK_UP_LAG_MS),
      declines: rarely(),
      triesAnother: fc.boolean(),
      wishes: fc.tuple(fc.constantFrom(...wishes), fc.constantFrom(...wishes), fc.constantFrom(...wishes)),
      cancels: fc.constantFrom(0, 0, 1, 2),
      reconciliations: fc.nat(2),
      hasOutsider: rarely(),
    })
    .map((drawn): Configuration => {
      const chosen = { ...drawn, ...fixed };
      // A provider without the guard charges twice what is confirmed twice from outside: no rule of the shop's can help there.
      const hasOutsider = chosen.hasOutsider && chosen.guards !== 'never';
      return { ...chosen, hasOutsider, replaysErrors: chosen.replaysErrors && chosen.honoursKeys };
    });
  const intervention = fc.record({ after: fc.nat(LONGEST_GAP), pick: fc.nat(PICKS - 1) });
  return fc.record({
    configuration,
    interventions: fc.array(intervention, { maxLength: MOST_INTERVENTIONS, size: 'max' }),
  });
}

/** Short, and another one for each configuration. */
export function nameOf(configuration: Configuration): string {
  const { wishes: chosen, ...others } = configuration;
  const wished = chosen.map(
    ({ orderId, paymentKey, idempotencyKey = '' }) => orderId + paymentKey + idempotencyKey,
  );
  return [
    ...wished,
    ...Object.values(others).map((value) => (typeof value === 'boolean' ? Number(value) : value)),
  ].join();
}

function rarely(): fc.Arbitrary<boolean> {
  return fc.nat(3).map((chance) => chance === 3);
}
