import type { IdempotencyRecordId } from './idempotency-record.ts';

/** The same subject twice, or the same record, is decided one after the other. */
export function areDistinct<Item extends { readonly id: IdempotencyRecordId }>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): boolean {
  if (items.length === 1) return true;
  const ids = new Set(items.map(({ id }) => textOf(id)));
  return ids.size === items.length && new Set(items.map(keyOf)).size === items.length;
}

export function idsOf(
  items: readonly { readonly id: IdempotencyRecordId }[],
): readonly IdempotencyRecordId[] {
  return items.map(({ id }) => id);
}

/** Each once: an answer may be long, and many may ask for it. */
export function distinctIdsOf(
  items: readonly { readonly id: IdempotencyRecordId }[],
): readonly IdempotencyRecordId[] {
  return [...new Map(items.map(({ id }) => [textOf(id), id])).values()];
}

/** The scope is JSON, and a key has no control characters. */
export function textOf({ scope, key }: IdempotencyRecordId): string {
  return `${scope}\n${key}`;
}
