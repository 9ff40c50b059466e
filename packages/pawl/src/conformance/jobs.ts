import { conditionalUpdateJobs } from './conditional-update.ts';
import type { Job } from './job.ts';
import { leasedKeyJobs } from './leased-key.ts';
import { leasedKeyInTransactionJobs } from './leased-key-in-transaction.ts';
import { distributedLockJobs } from './lock-sections.ts';
import { optimisticLockJobs } from './optimistic-lock.ts';
import { pessimisticLockJobs } from './pessimistic-lock.ts';
import { transactionalKeyJobs } from './transactional-key.ts';
import { uniqueClaimJobs } from './unique-claim.ts';

/** All that racers in another process can be told to do, by name. */
export const jobs: ReadonlyMap<string, Job<unknown, unknown>> = new Map(
  [
    ...conditionalUpdateJobs,
    ...uniqueClaimJobs,
    ...optimisticLockJobs,
    ...pessimisticLockJobs,
    ...leasedKeyJobs,
    ...leasedKeyInTransactionJobs,
    ...transactionalKeyJobs,
    ...distributedLockJobs,
  ].map((job) => [job.name, job as Job<unknown, unknown>]),
);
