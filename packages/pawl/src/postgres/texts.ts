const texts = new Map<string, string>();

/**
 * A text that is the same each time, made once: to put it together, and to find out which statement it is, takes longer than all else that is
 * done for one row.
 *
 * @param key  Tells it apart from all others. There must not be more of them than a program has statements.
 */
export function madeOnce(key: string, make: () => string): string {
  let text = texts.get(key);
  if (text === undefined) {
    text = make();
    texts.set(key, text);
  }
  return text;
}
