/**
 * A race of one endpoint, as a race file exports it: many times over, `fanout` requests that are one operation in truth (the
 * same order paid, the same coupon taken) are released at the same instant.
 *
 * @typeParam Context  What `prepare` makes for a round.
 */
export interface RaceDefinition<Context> {
  /**
   * Makes what one round is about, such as an order that nobody has paid yet. Without it, rounds after the first may find
   * that everything is done already.
   */
  prepare?: (round: Round) => Context | Promise<Context>;
  /** Each of the requests of a round; `n` lets five members or five keys be told apart. */
  request: RequestToRace | ((context: Context, member: Member) => RequestToRace);
  /** How many requests at once; 20 by default. */
  fanout?: number;
  /** What may succeed; one by default. */
  expect?: Expected;
  /**
   * What an answer means; undefined leaves it to the rule: 2xx is a success, 4xx a refusal, everything else a failure, and
   * a 2xx with `Idempotency-Replayed: true` that repeats another answer's bytes is a replay.
   */
  classify?: (answer: AnswerSeen) => AnswerClass | undefined;
  /**
   * Asked after each round, when all its requests are answered. Where nothing succeeded and nothing was replayed, what it says
   * ends the race as unknown, since something may be missing and no race is the reason; but a number above the expected one
   * is caught all the same.
   */
  check?: SqlCheck<Context> | FunctionCheck<Context> | undefined;
  /** At most so many rounds; 200 by default. */
  rounds?: number;
  /** No round is begun after so many seconds; 10 by default. */
  seconds?: number;
  /** Called at the end, whatever happened: closes what the file opened, which would keep the process running. */
  close?: () => unknown;
}

export interface Round {
  /** From 1. */
  round: number;
}

export interface Member extends Round {
  /** Which of the requests of the round it is, from 1. */
  n: number;
}

export interface RequestToRace {
  /** POST by default. */
  method?: string;
  /** `http:` or `https:`. It may differ from request to request: several instances, raced at once. */
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Sent as `application/json`, instead of `body`. */
  json?: unknown;
}

/**
 * `successes`: in every round exactly so many. More are caught; a round with fewer proves nothing. `atMost`: more are
 * caught.
 */
export type Expected = { successes: number } | { atMost: number };

/** A replay is a stored answer, given again: no second success. Whether a failure took effect is not known. */
export type AnswerClass = 'success' | 'refusal' | 'replay' | 'failure';

export const answerClasses: readonly AnswerClass[] = ['success', 'refusal', 'replay', 'failure'];

export interface AnswerSeen extends Member {
  status: number;
  /** By their names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
}

/** One statement that answers one value, on a connection of its own. */
export interface SqlCheck<Context> {
  /** `postgres://` or `mysql://`. */
  url: string;
  sql: string | ((context: Context, round: Round) => string);
  /** The first column of the first row, compared as text. */
  expect: number | string;
}

/** What it returns is what was violated, in words; nothing when all is well. */
export type FunctionCheck<Context> = (
  context: Context,
  round: Round & { answers: readonly AnswerSeen[] },
) => readonly string[] | undefined | Promise<readonly string[] | undefined>;

/** Gives a race file its types: `export default defineRace({ … })`. */
export function defineRace<Context = undefined>(race: RaceDefinition<Context>): RaceDefinition<Context> {
  return race;
}
