import type { Mutant } from '../../packages/pawl/mutants/mutant.ts';

/** The file with the mutation in it, or why there is none. */
export type Mutated =
  | { readonly text: string; readonly lineNumber: number }
  | { readonly problem: 'not in the file' | 'more than once in the file' };

/** Takes the line out of a file's text, or puts its replacement there. */
export function mutate(text: string, { line, replacement = '' }: Mutant): Mutated {
  const at = text.indexOf(line);
  if (at < 0) return { problem: 'not in the file' };
  if (text.lastIndexOf(line) !== at) return { problem: 'more than once in the file' };
  return {
    text: text.slice(0, at) + replacement + text.slice(at + line.length),
    lineNumber: text.slice(0, at).split('\n').length,
  };
}
