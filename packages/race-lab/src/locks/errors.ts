import { withoutCredentials } from '../report/store-name.ts';

/** How long the server may work for the view, in milliseconds: who looks at locks must not become a load. */
export const STATEMENT_LIMIT_MS = 2_000;
/** How long the view waits for a connection and for an answer, in milliseconds. */
export const ANSWER_LIMIT_MS = 5_000;

/** The locks of a database cannot be seen. Nothing was changed there. */
export class LockViewError extends Error {
  override readonly name = 'LockViewError';
  /**
   * `BAD_URL`, `UNREACHABLE`, `NOT_ALLOWED` and `UNSUPPORTED_SERVER`: it could not be opened. `SLOW`: the server took
   * longer than `STATEMENT_LIMIT_MS` and gave up. `LOST`: the connection ended, or fell silent and was given up.
   * `FAILED`: anything else that the server said.
   */
  readonly code:
    | 'BAD_URL'
    | 'UNREACHABLE'
    | 'NOT_ALLOWED'
    | 'UNSUPPORTED_SERVER'
    | 'SLOW'
    | 'LOST'
    | 'FAILED';

  constructor(code: LockViewError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** @throws LockViewError UNREACHABLE  always */
export function cannotConnect(databaseUrl: string, cause: unknown): never {
  const why = `cannot connect to ${withoutCredentials(databaseUrl)}: ${reasonOf(cause)}`;
  throw new LockViewError('UNREACHABLE', why, { cause });
}

/** What an error says; one that bundles others (of each address of a host) says nothing itself. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
