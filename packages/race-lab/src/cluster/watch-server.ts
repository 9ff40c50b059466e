import type { GuardedProcess } from './guardian.ts';

/** Told of a server that was started, and asked, when it has ended by itself, whether it was meant to. */
export type WatchServer = (server: GuardedProcess, wasMeantTo?: () => boolean) => void;
