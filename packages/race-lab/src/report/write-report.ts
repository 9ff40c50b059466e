import { access, constants, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BadArgumentsError } from '../commands/arguments.ts';

/**
 * @param option  By which the file was named.
 * @throws BadArgumentsError  Nothing could be written to `file`.
 */
export async function checkWritable(file: string, option = '--json'): Promise<void> {
  if (file === '') throw new BadArgumentsError(`${option} needs the name of a file`);
  const found = await stat(file).catch(() => undefined);
  if (found !== undefined && !found.isFile())
    throw new BadArgumentsError(`${option} ${file}: it is not a file`);
  try {
    await access(dirname(file), constants.W_OK);
  } catch {
    throw new BadArgumentsError(`${option} ${file}: the folder ${dirname(file)} cannot be written to`);
  }
}

/** As JSON, whole or not at all. */
export async function writeReport(file: string, report: unknown): Promise<void> {
  await writeWhole(file, `${JSON.stringify(report, null, 2)}\n`);
}

/** Written whole or not at all. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const unfinished = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(unfinished, text);
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
}
