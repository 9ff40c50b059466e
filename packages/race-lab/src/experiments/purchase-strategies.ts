import type { Expectation, RunReport } from '../report/report.ts';

/** What an expectation depends on. */
export interface RaceShape {
  instances: number;
  orders: number;
}

/** What a run showed, as far as it says how a strategy broke. */
export type Harm = Pick<RunReport, 'orders' | 'ledger' | 'responses'>;

interface StrategyUnderTest {
  needs: 'database' | 'redis';
  expected(shape: RaceShape): Expectation;
  /** Its racers wait for each other's row lock, so the report shows who waited for whom. */
  waitsForLocks?: true;
  /** For a strategy that breaks: whether it broke in the way that it should, and not in some other. */
  brokeAsPublished?(run: Harm): boolean;
}

/** The provider was asked more than once for most orders. */
const askedTwice = ({ orders, ledger }: Harm) =>
  orders !== null && (ledger?.ordersRequestedTwice ?? 0) * 2 >= orders;
/** Losers saw their version conflict as a failure. */
const failures = ({ responses }: Harm) => (responses['500'] ?? 0) > 0;

/** With fewer orders than this, what breaks at random may happen not to. */
const ENOUGH_ORDERS = 20;

const holds = () => 'holds' as const;
const breaks = () => 'breaks' as const;

/** The shop's purchase strategies, and what is published or promised of each. */
const strategies = {
  none: { needs: 'database', expected: breaks, brokeAsPublished: askedTwice },
  'in-memory': {
    needs: 'database',
    expected: ({ instances, orders }) => {
      if (instances === 1) return 'holds';
      return orders < ENOUGH_ORDERS ? 'either' : 'breaks';
    },
    brokeAsPublished: askedTwice,
  },
  'conditional-update': { needs: 'database', expected: holds },
  'unique-claim': { needs: 'database', expected: holds },
  optimistic: {
    needs: 'database',
    expected: ({ orders }) => (orders < ENOUGH_ORDERS ? 'either' : 'breaks'),
    brokeAsPublished: failures,
  },
  'optimistic-retry-inside': { needs: 'database', expected: () => 'either' },
  'optimistic-retry': { needs: 'database', expected: holds },
  pessimistic: { needs: 'database', expected: holds, waitsForLocks: true },
  'pessimistic-status': { needs: 'database', expected: holds, waitsForLocks: true },
  'pessimistic-held': { needs: 'database', expected: holds, waitsForLocks: true },
  'idempotency-key': { needs: 'redis', expected: holds },
  'distributed-lock': { needs: 'database', expected: holds },
  'distributed-lock-fenced': { needs: 'database', expected: holds },
  durable: { needs: 'database', expected: holds },
} as const satisfies Record<string, StrategyUnderTest>;

export type PurchaseStrategyName = keyof typeof strategies;

export const purchaseStrategies: Readonly<Record<PurchaseStrategyName, StrategyUnderTest>> = strategies;

export const purchaseStrategyNames = Object.keys(purchaseStrategies) as PurchaseStrategyName[];

/** The strategy without a guard: a race in which it does not fail was none. */
export const CONTROL: PurchaseStrategyName = 'none';
