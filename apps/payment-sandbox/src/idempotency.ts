import { createHash } from 'node:crypto';
import type { Answer } from './answer.ts';
import type { EventDraft, EventOf, LedgerEvent } from './events.ts';

const VALID_MS = 15 * 24 * 60 * 60 * 1000;
export const MAX_KEY_LENGTH = 300;

/** What makes two requests the same. The body is not part of it, as with the provider. */
export interface IdempotencyScope {
  readonly idempotencyKey: string;
  readonly apiKeyDigest: string;
  readonly method: string;
  readonly url: string;
}

/** What a request under a key finds: nobody before it, one still at work, or an answer to give again. */
export type Claim =
  | { outcome: 'first'; complete(answer: Answer): EventDraft; release(): void }
  | { outcome: 'in-flight' }
  | { outcome: 'replay'; answer: Answer };

export interface IdempotencyKeys {
  apply(event: LedgerEvent): void;
  /**
   * Claims the scope for one request. Whoever is `first` appends the event of `complete` in the decision that
   * it stands for (or not, if the answer shall not be given again), and calls `release` after it: until then a
   * repeat hears that the first is at work.
   */
  claim(scope: IdempotencyScope, nowMs: number): Claim;
}

/** The finished answers are a fold over the ledger; those in flight die with the process, as their work does. */
export function createIdempotencyKeys(): IdempotencyKeys {
  const finished = new Map<string, EventOf<'answer'>>();
  const inFlight = new Set<string>();

  return {
    apply(event) {
      if (event.type === 'answer') finished.set(identity(event), event);
    },
    claim(scope, nowMs) {
      const id = identity(scope);
      if (inFlight.has(id)) return { outcome: 'in-flight' };
      const answer = finished.get(id);
      if (answer !== undefined && nowMs < Date.parse(answer.validUntil)) return { outcome: 'replay', answer };
      inFlight.add(id);
      const validUntil = new Date(nowMs + VALID_MS).toISOString();
      return {
        outcome: 'first',
        complete: ({ status, body }) => ({ type: 'answer', ...scope, validUntil, status, body }),
        release: () => inFlight.delete(id),
      };
    },
  };
}

export function digestOf(apiKey: string): string {
  return createHash('sha256').update(apiKey).digest('hex').slice(0, 16);
}

function identity({ idempotencyKey, apiKeyDigest, method, url }: IdempotencyScope): string {
  return JSON.stringify([idempotencyKey, apiKeyDigest, method, url]);
}
