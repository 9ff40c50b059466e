import type { ClaimedRecord, IdempotencyClaim, StoredAnswer } from '../src/index.ts';

interface Specified {
  readonly owner: string;
  readonly fingerprint: string;
  readonly attempt: number;
  readonly leaseUntilMs: number;
  readonly expiresAtMs: number;
  readonly answer: StoredAnswer | undefined;
}

/** What a store of idempotency keys must do with one key, in the fewest words: the stores are compared with it. */
export class SpecifiedKey {
  readonly #nowMs: () => number;
  #record: Specified | undefined;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get record(): Specified | undefined {
    const record = this.#record;
    return record !== undefined && record.expiresAtMs > this.#nowMs() ? record : undefined;
  }

  claim({ owner, fingerprint, leaseMs, retentionMs }: IdempotencyClaim): {
    claimed: boolean;
    attempt: number;
  } {
    const { record } = this;
    const abandoned =
      record !== undefined && record.answer === undefined && record.leaseUntilMs <= this.#nowMs();
    if (record !== undefined && !(abandoned && record.fingerprint === fingerprint)) {
      return { claimed: false, attempt: record.attempt };
    }
    const attempt = (record?.attempt ?? 0) + 1;
    const [leaseUntilMs, expiresAtMs] = [this.#nowMs() + leaseMs, this.#nowMs() + retentionMs];
    this.#record = { owner, fingerprint, attempt, leaseUntilMs, expiresAtMs, answer: undefined };
    return { claimed: true, attempt };
  }

  renew(owner: string, leaseMs: number, retentionMs: number): boolean {
    return this.#change(owner, {
      leaseUntilMs: this.#nowMs() + leaseMs,
      expiresAtMs: this.#nowMs() + retentionMs,
    });
  }

  complete(owner: string, answer: StoredAnswer, retentionMs: number): boolean {
    return this.#change(owner, { answer, expiresAtMs: this.#nowMs() + retentionMs });
  }

  release(owner: string): boolean {
    return this.#change(owner, { expiresAtMs: Number.NEGATIVE_INFINITY });
  }

  endLease(): void {
    if (this.#record !== undefined) {
      this.#record = { ...this.#record, leaseUntilMs: Number.NEGATIVE_INFINITY };
    }
  }

  endRetention(): void {
    this.#record = undefined;
  }

  #change(owner: string, change: Partial<Specified>): boolean {
    const { record } = this;
    if (record?.owner !== owner || record.answer !== undefined) return false;
    this.#record = { ...record, ...change };
    return true;
  }
}

/** A claim's result in the words of the specification. */
export function claimResult(claimed: ClaimedRecord): { claimed: boolean; attempt: number } {
  return claimed.claimed ? claimed : { claimed: false, attempt: claimed.record.attempt };
}
