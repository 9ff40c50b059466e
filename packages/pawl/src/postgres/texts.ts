/** So many are kept: a program may have a table for each of its tenants. */
export const MOST_TEXTS = 1_000;

const texts = new Map<string, string>();

/**
 * A text that is the same each time, made once: to put it together, and to find out which statement it is, takes longer than all else that is
 * done for one row.
 *
 * @param key  Tells it apart from all others.
 */
export function madeOnce(key: string, make: () => string): string {
  let text = texts.get(key);
  if (text === undefined) {
    text = make();
    if (texts.size >= MOST_TEXTS) texts.clear();
    texts.set(key, text);
  }
  return text;
}
