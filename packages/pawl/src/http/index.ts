export {
  type Begun,
  EVERYBODY,
  type GuardedRequest,
  type GuardedRoute,
  guardedRoute,
  type Handled,
  type HttpIdempotencyOptions,
  type MemberName,
  type OtherAnswer,
  type Unstorable,
} from './guarded-route.ts';
export { type AnyIdempotencyKeys, leaseOf, transactionOf } from './guarded-work.ts';
export { type IdempotencyHeader, readIdempotencyHeader } from './idempotency-header.ts';
export { type ProblemCode, type ProblemOptions, problemAnswer } from './problem.ts';
