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
 * A second signal, or a shutdown that takes longer than its limit, ends the process at once.
 * Exit codes: 0 ended when asked to, 254 bad settings, 255 anything else.
 */
export async function runService(start: () => Promise<RunningService>): Promise<void> {
  let service: RunningService;
  try {
    service = await start();
  } catch (error) {
    if (error instanceof SettingsError) {
      for (const problem of error.problems) process.stderr.write(`${problem}\n`);
      process.exit(254);
    }
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(255);
  }
  let ending = false;
  const end = () => {
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
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}
