import type { Judgement } from '../checkers/judgement.ts';
import type { Finding } from '../checkers/violation.ts';
import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import type { LockReport, RunReport } from '../report/report.ts';

/** A request of which it is known what it caused. */
export interface LockRequest extends RaceRequest {
  requestId: string;
}

/** What is raced for in one run: a coupon, or an order. */
export interface LockSubject<Request extends LockRequest = LockRequest> {
  /** As the shop's strategies call the lock over it. */
  lockName: string;
  /** The first who reads it takes all of it; else one after the other takes something. */
  isPaidByFirst: boolean;
  /** In the order in which they are released. */
  requests: readonly Request[];
  /** Whether the request has something to take at whatever moment it gets the lock: who is stopped should. */
  takes(request: Request): boolean;
  /**
   * What came of it, by the rows and, where something is paid, by the provider's ledger.
   *
   * @param killed  The name of an instance that was killed because it waited; null where none was.
   * @throws whatever keeps the evidence from being read
   */
  judge(exchanges: readonly Exchange<Request>[], killed: string | null): Promise<SubjectSeen>;
}

/** What was seen of a subject. */
export interface SubjectSeen {
  judgement: Judgement<Finding>;
  /** The fields of the report that it fills. */
  report: Pick<RunReport, 'responses' | 'replays' | 'patterns' | 'ledger' | 'rows' | 'latencyMs'>;
  stock: LockReport['stock'];
  /** How the damage came about, in lines by time; null where there is none, or it is not known. */
  damage: string[] | null;
  /** Why the fault did not do what it is for, though it struck; null when it did. */
  misfired: string | null;
}
