import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The commit that the lab runs from, with `-dirty` when the checkout differs from it; `unknown` without git. */
export async function currentCommit(): Promise<string> {
  const cwd = fileURLToPath(new URL('.', import.meta.url));
  try {
    const [head, status] = await Promise.all([
      run('git', ['rev-parse', '--short=10', 'HEAD'], { cwd }),
      run('git', ['status', '--porcelain'], { cwd }),
    ]);
    return head.stdout.trim() + (status.stdout.trim() === '' ? '' : '-dirty');
  } catch {
    return 'unknown'; // No git, or not a checkout: the report says so instead of failing.
  }
}
