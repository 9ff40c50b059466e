/** A line of a Dockerfile, with those that continue it. */
export interface Instruction {
  readonly keyword: string;
  readonly words: readonly string[];
  /** Where it begins, from 1. */
  readonly line: number;
}

/** The instructions of a Dockerfile that a linter has accepted, without here-documents. */
export function instructionsOf(text: string): Instruction[] {
  const instructions: Instruction[] = [];
  let begun = '';
  let line = 0;
  for (const [index, raw] of text.split('\n').entries()) {
    if (/^\s*(#|$)/.test(raw)) continue;
    if (begun === '') line = index + 1;
    begun += raw;
    if (begun.endsWith('\\')) {
      begun = begun.slice(0, -1);
      continue;
    }
    const [keyword = '', ...words] = begun.trim().split(/\s+/);
    instructions.push({ keyword: keyword.toUpperCase(), words, line });
    begun = '';
  }
  return instructions;
}
