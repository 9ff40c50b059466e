import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that take longest, the longest first. Without times of an earlier run, which a fresh clone does not have, the files are
 * begun in the order of their sizes, and a short file that takes a minute is left to the end, where it runs alone.
 */
const SLOWEST = [
  'packages/race-lab/test/command-line.test.ts',
  'packages/pawl/test/conformance.test.ts',
  'apps/shop/test/store-faults.test.ts',
  'apps/shop/test/purchase.test.ts',
  'apps/shop/test/provider-faults.test.ts',
  'packages/pawl/test/conformance-locks.test.ts',
  'packages/race-lab/test/lock-race.test.ts',
  'packages/race-lab/test/coupon-race.test.ts',
  'apps/shop/test/coupons/issue.test.ts',
  'packages/pawl/test/operator-commands.test.ts',
  'apps/shop/test/coupons/store-faults.test.ts',
  'apps/shop/test/distributed-lock.test.ts',
  'packages/race-lab/test/cluster/cluster.test.ts',
  'packages/pawl/test/lock-sql-store.test.ts',
  'apps/shop/test/coupons/time.test.ts',
  'packages/pawl/test/migrate.test.ts',
  'apps/shop/test/durable/recovery-instances.test.ts',
  'packages/pawl/test/readme.test.ts',
  'packages/race-lab/test/recovery-race.test.ts',
  'bench/test/locks.test.ts',
];

export default class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = SLOWEST.findIndex((file) => moduleId.endsWith(file));
      return found === -1 ? SLOWEST.length : found;
    };
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => place(a) - place(b));
  }
}
