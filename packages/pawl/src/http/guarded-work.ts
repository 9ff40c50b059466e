import { MisuseError } from '../errors.ts';
import type { IdempotencyKeys } from '../idempotency-key.ts';
import type { IdempotencyLease } from '../idempotency-run.ts';
import type { TransactionalIdempotencyKeys } from '../idempotency-transaction.ts';
import type { SqlTransaction } from '../ports.ts';

/** Keys in leased mode, or in transactional mode. */
export type AnyIdempotencyKeys = IdempotencyKeys | TransactionalIdempotencyKeys;

interface WorkRecord {
  readonly scope: readonly string[];
  readonly key: string;
}

interface Work {
  readonly keys: AnyIdempotencyKeys;
  /** Undefined without a key. */
  readonly record: WorkRecord | undefined;
  readonly held: unknown;
}

/**
 * What the handler of a request holds, on the request as its framework gives it. A WeakMap would be tidier, and half of what the guard
 * costs would be the collector's work on it.
 */
const WORK = Symbol('pawl.work');

type Worked = object & { [WORK]?: Work };

export function rememberWork(request: Worked, work: Work): void {
  request[WORK] = work;
}

/** Whether a guard that stands before has the same record, and would be waited for by its own handler. */
export function isGuardedBy(request: object, keys: AnyIdempotencyKeys, { scope, key }: WorkRecord): boolean {
  const work = (request as Worked)[WORK];
  if (work?.record === undefined || work.keys !== keys || work.record.key !== key) return false;
  return JSON.stringify(work.record.scope) === JSON.stringify(scope);
}

/**
 * The lease under which the handler of a guarded route runs: which attempt it is, whether it has been lost, and, on SQL,
 * `completeIn`. What the handler commits with `completeIn` is what is sent, whatever it answers afterwards but a server error.
 *
 * @param request  What the framework gives the handler: the request of Express, Fastify and NestJS, the context of Hono.
 * @returns undefined for a request without a key, on a route that does not require one.
 * @throws MisuseError  The route is guarded by other keys, or by none.
 */
export function leaseOf<Lease extends IdempotencyLease>(
  keys: IdempotencyKeys<Lease>,
  request: object,
): Lease | undefined {
  return heldBy(keys, request) as Lease | undefined;
}

/**
 * The transaction in which the handler of a guarded route runs, and in which its answer is stored: it commits when the
 * handler has answered with a status below 400, and is rolled back otherwise.
 *
 * @param request  As for `leaseOf`.
 * @returns undefined for a request without a key, on a route that does not require one.
 * @throws MisuseError  The route is guarded by other keys, or by none.
 */
export function transactionOf<Transaction extends SqlTransaction>(
  keys: TransactionalIdempotencyKeys<Transaction>,
  request: object,
): Transaction | undefined {
  return heldBy(keys, request) as Transaction | undefined;
}

function heldBy(keys: unknown, request: object): unknown {
  const work = (request as Worked)[WORK];
  if (work === undefined || work.keys !== keys) {
    throw new MisuseError('this request is not guarded by these idempotency keys');
  }
  return work.held;
}
