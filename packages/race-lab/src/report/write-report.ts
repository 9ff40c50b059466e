import { access, constants, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BadArgumentsError } from '../commands/arguments.ts';

/** @throws BadArgumentsError  The report could not be written to `file`. */
export async function checkWritable(file: string): Promise<void> {
  if (file === '') throw new BadArgumentsError('--json needs the name of a file');
  const found = await stat(file).catch(() => undefined);
  if (found !== undefined && !found.isFile()) throw new BadArgumentsError(`--json ${file}: it is not a file`);
  try {
    await access(dirname(file), constants.W_OK);
  } catch {
    throw new BadArgumentsError(`--json ${file}: the folder ${dirname(file)} cannot be written to`);
  }
}

/** Written whole or not at all. */
export async function writeReport(file: string, report: unknown): Promise<void> {
  const unfinished = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(unfinished, `${JSON.stringify(report, null, 2)}\n`);
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
}
