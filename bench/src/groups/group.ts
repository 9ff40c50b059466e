import type { Guardian } from '../../../packages/race-lab/src/cluster/guardian.ts';
import type { GroupReport } from '../report/report.ts';
import type { ServerUrls } from '../servers.ts';

export interface GroupContext {
  readonly servers: ServerUrls;
  /** Whatever is started under it ends with the run. */
  readonly guardian: Guardian;
  /** A throw-away directory. */
  readonly directory: string;
  /** After the warm-up. */
  readonly rounds: number;
  /** Short rounds, so that all groups end within five minutes. */
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

/** What is needed to measure at a scale that is given, where no service of the repository is started. */
export type MeasureContext = Omit<GroupContext, 'quick' | 'guardian'>;

/**
 * Measures what belongs together.
 *
 * @throws the signal's reason; nothing of it runs on by then.
 */
export type Group = (context: GroupContext) => Promise<GroupReport>;
