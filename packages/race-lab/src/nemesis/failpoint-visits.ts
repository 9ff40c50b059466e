import { readFileSync } from 'node:fs';

/** A line of the log that instances keep of the failpoints which they pass. */
export interface FailpointVisit {
  name: string;
  /** Of this name in this process, from 1. */
  visit: number;
  pid: number;
  /** It was told to strike there. */
  struck: boolean;
}

/**
 * What instances have passed so far. Without waiting, because it is asked when one of them ends.
 *
 * @throws SyntaxError  A line is not whole.
 */
export function failpointVisits(logFile: string): FailpointVisit[] {
  return textOf(logFile)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FailpointVisit);
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    // Nobody has passed anything.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
