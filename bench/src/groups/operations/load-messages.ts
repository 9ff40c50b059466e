import type { ServerUrls } from '../../servers.ts';

export interface OpenOrder {
  readonly kind: 'open';
  /** The group's `contenders.ts`, as a URL. */
  readonly contenders: string;
  readonly row: string;
  readonly urls: ServerUrls;
}

/** Callers who each ask again as soon as they were answered. */
export interface DriveOrder {
  readonly kind: 'drive';
  readonly callers: number;
  /** The numbers that are asked with: from the first on, and after so many from the first again; null: never again. */
  readonly first: number;
  readonly numbers: number | null;
  /** When they end: after so many milliseconds, or after so many operations of all. */
  readonly until: { readonly ms: number } | { readonly operations: number };
}

/** Asks with each of these numbers, in this order, so many at a time. */
export interface EachOrder {
  readonly kind: 'each';
  readonly callers: number;
  readonly numbers: readonly number[];
}

/** Closes what was opened, as a service does that ends. */
export interface CloseOrder {
  readonly kind: 'close';
}

export type LoadOrder = OpenOrder | DriveOrder | EachOrder | CloseOrder;

export interface DriveResult {
  readonly durationMs: number;
  /** Of each operation that was answered, in milliseconds. */
  readonly latencyMs: Float64Array;
  /** How many came to which word. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly errors: number;
  readonly firstError: string | null;
}

/** What each number came to, in the order in which they were given; an error as its text. */
export type EachResult = readonly string[];

export interface LoadResults {
  readonly open: undefined;
  readonly drive: DriveResult;
  readonly each: EachResult;
  readonly close: undefined;
}

export type LoadAnswer =
  | { readonly done: true; readonly result: LoadResults[LoadOrder['kind']] }
  | { readonly done: false; readonly why: string };
