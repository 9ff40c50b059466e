import type { IdempotencyStore } from '../idempotency-store.ts';
import type { TwoHosts } from './race.ts';
import type { RunLedger } from './run-ledger.ts';

/** A store of idempotency records, here and where racers are. */
export interface RecordsBench {
  readonly store: IdempotencyStore;
  readonly runs: RunLedger;
  hosts(): Promise<TwoHosts>;
}

/** Runs a case on records of its own. */
export type OnRecordsBench = (work: (bench: RecordsBench) => Promise<void>) => Promise<void>;
