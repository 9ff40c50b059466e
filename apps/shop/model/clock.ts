/** One clock for all: the rules ask no process for the time, and what may be wrong with the provider's is in the margin. */
export interface Clock {
  now: number;
}

/** The times of the model, in milliseconds: small, and told apart at a glance in a schedule. */
export const LEASE_MS = 100;
/** From the opening of the payment window. */
export const SESSION_MS = 300;
export const MARGIN_MS = 100;
/** Less than the margin. */
export const LOOK_UP_LAG_MS = 70;
export const PAUSE_MS = 60;
export const MAX_PAUSE_MS = 150;
