import type { Clock } from './clock.ts';

/**
 * How a confirm that is not the first is met.
 *
 * - `as-published`: no idempotency; a captured payment key is a 500, as the published fake gateway's
 *   duplicate-key error.
 * - `generous`: no idempotency; every confirm captures.
 * - `toss`: idempotency keys, and `ALREADY_PROCESSED_PAYMENT` for a captured payment.
 */
export const modes = ['as-published', 'generous', 'toss'] as const;
export type Mode = (typeof modes)[number];

export interface SandboxOptions {
  /** The ledger's file: created when absent, continued when present. */
  ledgerFile: string;
  host?: string;
  /** 0 takes a free port. */
  port?: number;
  secretKey?: string;
  mode?: Mode;
  /** Bounds of the time that a confirm or a cancel takes before it is decided. */
  latencyMinMs?: number;
  latencyMaxMs?: number;
  /** Of the waiting times, and of the shares of fault rules. */
  seed?: number;
  /** Whether the first confirm of an unknown payment key opens its session. By default all modes but `toss`. */
  autoSession?: boolean;
  /** How long a session lives unless its opener says otherwise. */
  sessionMs?: number;
  /** `toss`: whether an error answer is given again under its idempotency key. */
  replayErrors?: boolean;
  /** `toss`: whether a confirm of a captured payment is refused. Off: it captures again. */
  alreadyProcessedGuard?: boolean;
  logLevel?: string;
  clock?: Clock;
}

export const defaults = {
  host: '127.0.0.1',
  port: 8090,
  secretKey: 'test_sk_sandbox',
  mode: 'as-published',
  latencyMinMs: 100,
  latencyMaxMs: 500,
  seed: 42,
  sessionMs: 600_000,
  replayErrors: true,
  alreadyProcessedGuard: true,
  logLevel: 'warn',
} as const satisfies Partial<SandboxOptions>;

export function autoSessionByDefault(mode: Mode): boolean {
  return mode !== 'toss';
}
