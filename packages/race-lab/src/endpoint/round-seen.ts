import type { ClassedExchange } from './class-answers.ts';
import type { AnswerClass, Expected } from './define-race.ts';

/** What became of one request. Times count from the release of the first of its round, in milliseconds. */
export interface MemberSeen {
  n: number;
  class: AnswerClass;
  /** Null when no complete answer came. */
  status: number | null;
  /** Why there is no answer; `early-answer`: it came before the request was whole. */
  error: string | null;
  sentMs: number;
  answeredMs: number;
}

/** What became of one round. */
export interface RoundSeen {
  round: number;
  counts: Record<AnswerClass, number>;
  /** In words; empty when nothing was violated. */
  violations: string[];
  /**
   * Whether at least two requests were sent before any of the round was answered. Whether the server handled two at once, only
   * `oneByOne` says something about.
   */
  overlapped: boolean;
  /** Whether each answer took about as long after the last as the first one took: one request was handled at a time. */
  oneByOne: boolean;
  /** Between the first last byte and the last one, as they were written, in milliseconds. */
  releaseSpreadMs: number;
  members: MemberSeen[];
}

export function roundSeen(round: number, classed: readonly ClassedExchange[], expected: Expected): RoundSeen {
  const sent = classed.filter(({ exchange }) => exchange.answeredAtUs > exchange.releasedAtUs);
  const releasedUs = sent.map(({ exchange }) => exchange.releasedAtUs);
  const startUs = Math.min(...(releasedUs.length > 0 ? releasedUs : [0]));
  const firstAnswerUs = Math.min(...sent.map(({ exchange }) => exchange.answeredAtUs));
  const counts: RoundSeen['counts'] = { success: 0, refusal: 0, replay: 0, failure: 0 };
  for (const { class: name } of classed) counts[name] += 1;
  const most = 'atMost' in expected ? expected.atMost : expected.successes;
  const answered = sent.filter(({ answer }) => answer !== undefined);
  const afterMs = (us: number) => (sent.length === 0 ? 0 : Math.max(0, us - startUs) / 1000);
  return {
    round,
    counts,
    violations: counts.success > most ? [`${counts.success} requests succeeded where ${most} may`] : [],
    overlapped: releasedUs.filter((us) => us < firstAnswerUs).length > 1,
    oneByOne: areOneByOne(answered.map(({ exchange }) => afterMs(exchange.answeredAtUs))),
    releaseSpreadMs: afterMs(Math.max(...releasedUs, startUs)),
    members: classed.map(({ exchange, class: name }) => ({
      n: exchange.request.n,
      class: name,
      status: exchange.status ?? null,
      error: exchange.error ?? null,
      sentMs: afterMs(exchange.releasedAtUs),
      answeredMs: afterMs(exchange.answeredAtUs),
    })),
  };
}

/** Fewer show no pattern. */
const LEAST_ANSWERS = 4;

/** Shorter intervals are what one process needs to read a request or an answer, in milliseconds: they show no queue. */
const LEAST_INTERVAL_MS = 2;

function areOneByOne(answeredMs: readonly number[]): boolean {
  const sorted = answeredMs.toSorted((a, b) => a - b);
  const [first] = sorted;
  if (first === undefined || sorted.length < LEAST_ANSWERS) return false;
  const gaps = sorted.slice(1).map((ms, index) => ms - (sorted[index] ?? 0));
  const [typical = 0] = gaps.toSorted((a, b) => a - b).slice(Math.floor(gaps.length / 2));
  return typical >= LEAST_INTERVAL_MS && typical >= first / 2;
}
