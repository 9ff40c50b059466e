/** A statement in one line, cut at `length` characters. */
export function inOneLine(statement: string, length: number): string {
  const line = statement.replace(/\s+/g, ' ').trim();
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}

/**
 * A statement without its values: `… WHERE id = ? AND status = ?`. Two that differ in nothing else are the same, and
 * payment keys, which some drivers write into the statement, do not get into a report.
 */
export function withoutValues(statement: string): string {
  return (
    statement
      .replace(/'(?:[^'\\]|\\.|'')*'/gs, '?')
      // What was cut off in the middle of a value.
      .replace(/'[^']*$/, '?')
      .replace(/(?<![\w$`"])\d[\w.]*/g, '?')
  );
}
