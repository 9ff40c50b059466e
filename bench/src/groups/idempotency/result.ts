/** What every row stores and replays, of so many bytes: an answer of a shop. */
export const RESULT_BYTES = 207;

/** Of each key another one, so that nobody's can be told to somebody else. */
export function resultOf(key: string): string {
  const bare = JSON.stringify({ paid: true, amount: 5_000, orderId: key, note: '' });
  return bare.replace('""', `"${'n'.repeat(RESULT_BYTES - bare.length)}"`);
}

/** What is asked with a key: its order, as a client sends it. */
export function payloadOf(key: string): string {
  return JSON.stringify({ orderId: key, amount: 5_000, paymentKey: 'payment-key-7' });
}

export const keyOf = (number: number): string => `bench-key-${number}`;

/** What a request comes to. */
export const RAN = 'ran';
export const REPLAYED = 'replayed';
export const IN_PROGRESS = 'in-progress';
export const WRONG_RESULT = 'wrong result';
