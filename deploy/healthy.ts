/**
 * The health check of an image: exit code 0 when the service of this container can serve, else 1.
 *
 * The image has no curl. `PORT` is the service's own setting.
 */
const LIMIT_MS = 4_000;

const url = `http://127.0.0.1:${process.env.PORT}/health/ready`;
try {
  const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) });
  process.stdout.write(`${url} answered ${status}\n`);
  process.exitCode = ok ? 0 : 1;
} catch (error) {
  process.stdout.write(`${url}: ${error}\n`);
  process.exitCode = 1;
}
