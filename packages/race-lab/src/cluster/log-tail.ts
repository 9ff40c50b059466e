import { open } from 'node:fs/promises';

const TAIL_BYTES = 8_192;

/**
 * The last `lines` lines of a log, empty when it does not exist.
 *
 * As many as it takes to see past the thirty with which `mariadb-install-db` ends when it has failed.
 */
export async function readLogTail(file: string, lines = 45): Promise<string> {
  let log: Awaited<ReturnType<typeof open>>;
  try {
    log = await open(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = await log.stat();
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    const { bytesRead } = await log.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-lines).join('\n');
  } finally {
    await log.close();
  }
}
