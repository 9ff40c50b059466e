/** What of the lab's own environment its servers may see: enough to run, nothing that changes what they do. */
const PASSED_ON = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'NODE_COMPILE_CACHE'] as const;

/**
 * The base of every server's environment.
 *
 * A DATABASE_URL, PGHOST or NODE_OPTIONS that happens to be set where the lab is run must not change a run.
 */
export function hostEnv(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
