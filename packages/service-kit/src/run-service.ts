import { SettingsError } from './settings.ts';

/** What a started service hands back so that it can be ended. */
export interface RunningService {
  /** Stops taking requests, answers those in flight, then frees everything. */
  close(): Promise<void>;
  /** How long that may take before the process ends all the same, in milliseconds. */
  readonly closeLimitMs?: number;
}

/** Time from the first signal to a forced exit, unless the service says otherwise, in milliseconds. */
const CLOSE_LIMIT_MS = 15_000;

/**
 * Runs a service as this process's only job: starts it, and ends it gracefully on SIGTERM or SIGINT.
 *
 * A signal while it starts ends the process at once: nobody has been served yet. So does a second signal, or a shutdown that
 * takes longer than its limit. Exit codes: 0 ended when asked to, 254 bad settings, 255 anything else.
 */
export async function runService(start: () => Promise<RunningService>): Promise<void> {
  let service: RunningService | undefined;
  let ending = false;
  const end = () => {
    if (service === undefined) process.exit(0);
    if (ending) process.exit(255);
    ending = true;
    setTimeout(() => process.exit(255), service.closeLimitMs ?? CLOSE_LIMIT_MS).unref();
    service.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`shutdown failed: ${String(error)}\n`);
        process.exit(255);
      },
    );
  };
  // Before the start: a container's first process has no default action for a signal, so one that nobody handles is lost.
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  try {
    service = await start();
  } catch (error) {
    if (error instanceof SettingsError) {
      for (const problem of error.problems) process.stderr.write(`${problem}\n`);
      process.exit(254);
    }
    process.stderr.write(`${told(error)}\n`);
    process.exit(255);
  }
}

/** A port that is taken or a server that is not there is a line; what only the code explains has its place in the code. */
function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ('syscall' in cause) return cause.message;
    // One for each address of a name: `localhost` often has two.
    if (cause instanceof AggregateError) return cause.errors.map(told).join('\n');
  }
  return error.stack ?? error.message;
}
