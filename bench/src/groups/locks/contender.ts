import type { ServerUrls } from '../../servers.ts';

/** A lock that is measured, opened in one process. */
export interface Contender {
  /**
   * Takes the lock on `key`, runs `work`, and gives it back.
   *
   * @returns false when the lock was not granted within its own settings; `work` did not run.
   * @throws whatever else goes wrong.
   */
  section(key: string, work: () => Promise<void>): Promise<boolean>;
  close(): Promise<void>;
}

/** Resolves when it is connected. */
export type OpenContender = (urls: ServerUrls) => Promise<Contender>;

/** How long a lock of a peer lasts by itself, in milliseconds: longer than any section, as that of the library. */
export const LEASE_MS = 10_000;

/** Connections of a process where a lock takes one: for 64 callers who each hold a lock of their own. */
export const SESSIONS = 64;
