import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BadArgumentsError } from '../commands/arguments.ts';
import type { RaceDefinition } from './define-race.ts';
import { readDefinition } from './read-definition.ts';
import { runStep, StepError } from './run-step.ts';

/**
 * Runs a race file, and reads what it exports. Its types are for its author's editor: Node takes them out unread.
 *
 * @param file  Relative to the working directory.
 * @throws BadArgumentsError  There is no such file, it does not run, or what it exports is no race. What it opened stays open.
 * @throws the signal's reason  when aborted
 */
export async function loadRaceFile(file: string, signal: AbortSignal): Promise<RaceDefinition<unknown>> {
  const path = resolve(file);
  if (!existsSync(path)) throw new BadArgumentsError(`there is no race file ${file}`);
  const load = (): Promise<{ default?: unknown }> => import(pathToFileURL(path).href);
  try {
    return readDefinition(file, (await runStep(`loading ${file}`, load, { signal })).default);
  } catch (error) {
    if (error instanceof StepError) throw new BadArgumentsError(error.message, { cause: error });
    throw error;
  }
}
