/** What the bench uses of redlock 5: it brings types, which its `exports` do not name. */
declare module 'redlock' {
  import type { Redis } from 'ioredis';

  export interface Settings {
    readonly retryCount: number;
    /** In milliseconds, as is the next. */
    readonly retryDelay: number;
    readonly retryJitter: number;
  }

  /** None was granted after `retryCount` retries, or Redis could not be asked. */
  export class ExecutionError extends Error {}

  export interface Lock {
    readonly expiration: number;
  }

  export default class Redlock {
    constructor(clients: Iterable<Redis>, settings?: Partial<Settings>);
    acquire(keys: string[], leaseMs: number): Promise<Lock>;
    release(lock: Lock, settings?: Partial<Settings>): Promise<unknown>;
  }
}
