/**
 * How long one waits who is to have the lock in the end: longer than a loaded machine needs beside a lease, and shorter than
 * the long lease, so that whoever waits for that is refused.
 */
const PATIENT_MS = 10_000;

/** No lease of these is over only because a machine is slow. */
export const LONG = { leaseMs: 60_000, waitMs: PATIENT_MS };

export const NO_WAIT = { ...LONG, waitMs: 0 };

/** So many keys does a host hold, or wait for, at most; each may be a session. */
export const MOST_AT_ONCE = 40;

/** A lease that somebody waits for to be over. */
export const SHORT = { ...LONG, leaseMs: 500 };
