import type { GroupReport } from '../report/report.ts';
import type { ServerUrls } from '../servers.ts';

export interface GroupContext {
  readonly servers: ServerUrls;
  /** A throw-away directory. */
  readonly directory: string;
  /** After the warm-up. */
  readonly rounds: number;
  /** Short rounds, so that all groups end within five minutes. */
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

/**
 * Measures what belongs together.
 *
 * @throws the signal's reason; nothing of it runs on by then.
 */
export type Group = (context: GroupContext) => Promise<GroupReport>;
