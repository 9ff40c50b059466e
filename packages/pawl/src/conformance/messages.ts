import type { Ended, ReportedError } from './job.ts';
import type { WorldSpec } from './world.ts';

/** To whoever runs racers. */
export type ToRacers =
  | { readonly kind: 'open'; readonly world: WorldSpec }
  | { readonly kind: 'close' }
  | StartMessage
  | { readonly kind: 'pass'; readonly run: number; readonly point: string };

export interface StartMessage {
  readonly kind: 'start';
  /** Names this run of a job. */
  readonly run: number;
  readonly job: string;
  readonly params: unknown;
  /** The index of the first racer, and how many there are here. */
  readonly first: number;
  readonly count: number;
}

/** From whoever runs racers. */
export type FromRacers =
  /** What it was told to open, or to close, is. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: ReportedError }
  | { readonly kind: 'reached'; readonly run: number; readonly point: string }
  | { readonly kind: 'ended'; readonly run: number; readonly ended: readonly Ended<unknown>[] };
