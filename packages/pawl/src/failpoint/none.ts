import type { FailpointName } from './names.ts';

/** A line at which a test may end or stop the process. Here nothing can arm it: it does nothing. */
export function failpoint(_name: FailpointName): void {
  // `node --conditions=failpoints` has armed.ts in this module's place, in a checkout; a published package has only this.
}
