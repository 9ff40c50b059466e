import type { Moment } from '../../clock.ts';
import type { ServerUrls } from '../../servers.ts';

/** All want the same key. */
export interface ContendOrder {
  readonly kind: 'contend';
  readonly key: string;
  /** The workers of this process, by their numbers among those of all processes. */
  readonly workers: { readonly first: number; readonly count: number };
  readonly startAt: Moment;
  /** Each worker asks again until then; null: each asks once. In milliseconds from the start. */
  readonly untilMs: number | null;
  /** How long each section lasts, in milliseconds: one timer. */
  readonly sectionMs: number;
  readonly counterFile: string;
}

/** Each caller has a key of its own. */
export interface OwnKeysOrder {
  readonly kind: 'own-keys';
  /** In front of each key. */
  readonly prefix: string;
  readonly callers: number;
  /** When they end: after so many milliseconds, or when each has done so many pairs. */
  readonly until: { readonly ms: number } | { readonly pairsEach: number };
}

/** Whether a lock that is held keeps another one out, and no longer than that. */
export interface ExcludeOrder {
  readonly kind: 'exclude';
  readonly key: string;
}

export interface OpenOrder {
  readonly kind: 'open';
  readonly row: string;
  readonly urls: ServerUrls;
}

export type LoadOrder = OpenOrder | ContendOrder | OwnKeysOrder | ExcludeOrder;

/** Callers who got nothing. */
export interface Unserved {
  /** Those whom the lock refused within its own settings. */
  readonly notGranted: number;
  readonly errors: number;
  readonly firstError: string | null;
}

/** Times in milliseconds from the start of the order; each array has one value for each section that ran. */
export interface ContendResult extends Unserved {
  readonly workers: Float64Array;
  readonly askedMs: Float64Array;
  readonly enteredMs: Float64Array;
  readonly leftMs: Float64Array;
}

export interface OwnKeysResult extends Unserved {
  readonly durationMs: number;
  /** How long each pair took, in milliseconds. */
  readonly pairMs: Float64Array;
}

/** One sentence for each thing that was not as it must be. */
export type ExcludeResult = readonly string[];

export interface LoadResults {
  readonly open: undefined;
  readonly contend: ContendResult;
  readonly 'own-keys': OwnKeysResult;
  readonly exclude: ExcludeResult;
}

export type LoadAnswer =
  | { readonly done: true; readonly result: LoadResults[LoadOrder['kind']] }
  | { readonly done: false; readonly why: string };
