import type { Expectation } from '../report/report.ts';

/** What an expectation depends on. */
export interface RaceShape {
  instances: number;
  orders: number;
}

interface StrategyUnderTest {
  needs: 'database' | 'redis';
  expected(shape: RaceShape): Expectation;
}

/** With fewer orders than this, what breaks at random may happen not to. */
const ENOUGH_ORDERS = 20;

const holds = () => 'holds' as const;
const breaks = () => 'breaks' as const;

/** The shop's purchase strategies, and what is published or promised of each. */
export const purchaseStrategies = {
  none: { needs: 'database', expected: breaks },
  'in-memory': {
    needs: 'database',
    expected: ({ instances, orders }) => {
      if (instances === 1) return 'holds';
      return orders < ENOUGH_ORDERS ? 'either' : 'breaks';
    },
  },
  'conditional-update': { needs: 'database', expected: holds },
  'unique-claim': { needs: 'database', expected: holds },
  optimistic: {
    needs: 'database',
    expected: ({ orders }) => (orders < ENOUGH_ORDERS ? 'either' : 'breaks'),
  },
  'optimistic-retry-inside': { needs: 'database', expected: () => 'either' },
  'optimistic-retry': { needs: 'database', expected: holds },
  pessimistic: { needs: 'database', expected: holds },
  'pessimistic-status': { needs: 'database', expected: holds },
  'pessimistic-held': { needs: 'database', expected: holds },
  'idempotency-key': { needs: 'redis', expected: holds },
} as const satisfies Record<string, StrategyUnderTest>;

export type PurchaseStrategyName = keyof typeof purchaseStrategies;

export const purchaseStrategyNames = Object.keys(purchaseStrategies) as PurchaseStrategyName[];

/** The strategy without a guard: a race in which it does not fail was none. */
export const CONTROL: PurchaseStrategyName = 'none';
