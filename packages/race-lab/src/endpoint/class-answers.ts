import type { Exchange } from '../racer/exchange.ts';
import type { MemberRequest } from './build-request.ts';
import { type AnswerClass, type AnswerSeen, answerClasses, type RaceDefinition } from './define-race.ts';

/** The custom rule of a race file answered something that is no class. */
class ClassError extends Error {
  override readonly name = 'ClassError';
  readonly code = 'NO_SUCH_CLASS';
}

/** One request of a round with its answer. */
export interface ClassedExchange {
  exchange: Exchange<MemberRequest>;
  answer: AnswerSeen | undefined;
  class: AnswerClass;
}

/**
 * What each answer of one round means; no complete answer is a failure.
 *
 * @throws ClassError, and what `classify` throws
 */
export function classAnswers(
  exchanges: readonly Exchange<MemberRequest>[],
  classify: RaceDefinition<unknown>['classify'],
): ClassedExchange[] {
  const seen = exchanges.map((exchange) => ({ exchange, answer: answerOf(exchange) }));
  const successes = seen.filter(({ answer }) => answer !== undefined && isSuccess(answer));
  const originals = successes.filter(({ answer }) => answer && !saysReplayed(answer));
  // Where the first answer was lost, or went to an earlier round, all that is left of it are its replays.
  const repeatable = originals.length > 0 ? originals : successes.slice(0, 1);
  const repeats = ({ exchange }: (typeof seen)[number]) =>
    repeatable.some(
      (original) =>
        original.exchange.status === exchange.status && original.exchange.body.equals(exchange.body),
    );
  return seen.map((one) => {
    const { answer } = one;
    if (answer === undefined) return { ...one, class: 'failure' };
    const chosen = classify?.(answer);
    if (chosen !== undefined && !answerClasses.includes(chosen)) {
      throw new ClassError(`classify must answer ${answerClasses.join(', ')} or undefined, got "${chosen}"`);
    }
    const isReplay = isSuccess(answer) && saysReplayed(answer) && repeats(one);
    return { ...one, class: chosen ?? (isReplay ? 'replay' : byStatus(answer.status)) };
  });
}

function answerOf({ request, status, headers, body }: Exchange<MemberRequest>): AnswerSeen | undefined {
  if (status === undefined) return undefined;
  const { round, n } = request;
  return { round, n, status, headers, body: body.toString() };
}

function byStatus(status: number): AnswerClass {
  if (status >= 200 && status < 300) return 'success';
  return status >= 400 && status < 500 ? 'refusal' : 'failure';
}

function isSuccess({ status }: AnswerSeen): boolean {
  return byStatus(status) === 'success';
}

function saysReplayed({ headers }: AnswerSeen): boolean {
  return headers['idempotency-replayed'] === 'true';
}
