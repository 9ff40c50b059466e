import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, answerOf, isFinal, type PurchaseRequest } from '../history/answer.ts';
import { type CancelAnswer, type CancelRequest, cancelAnswerOf } from '../history/cancel-answer.ts';
import type { Exchange, RaceRequest, Target } from '../racer/exchange.ts';
import { exchangeOver } from '../racer/exchange-over.ts';
import { holdRequest } from '../racer/held-request.ts';
import { confirmation, requestIdOf } from './purchase-run.ts';
import type { PurchaseStrategyName } from './purchase-strategies.ts';
import type { PreparedOrder } from './shop-client.ts';

/** How long the answer to a racer's first request is waited for: as long as an instance may stand still. */
const FIRST_ANSWER_LIMIT_MS = 60_000;
const ANSWER_LIMIT_MS = 3_000;
/** Between two tries of one racer; it doubles up to the second. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 800;
const PREPARE_LIMIT_MS = 5_000;
const MOST_ANSWER_BYTES = 65_536;
/** Who take an order back at once. */
const CANCELLERS = 2;

export interface RecoveryClientsOptions {
  /** Where the racers of an order ask first, one after the other. */
  firstTargets: readonly Target[];
  /** Where they ask again, in turn: no instance that stands still. */
  laterTargets: readonly Target[];
  racers: number;
  strategy: PurchaseStrategyName;
  /** Aborted when nobody need ask any more. */
  over: AbortSignal;
}

/** The members of a cell: they ask until they have a final answer. */
export interface RecoveryClients {
  /**
   * Races for an order with a payment key: all at the same instant, and each again and again, with the same request, until he has
   * a final answer.
   *
   * @param first  `at`: where all of them ask first; absent: where all do. `othersWaitFor`: until then only one of them asks there,
   *   and then the others elsewhere.
   * @returns `first`: the first final answer that one of them got; undefined when nobody did before it was over. `all`: resolves
   *   when everybody has one.
   */
  pay(
    order: PreparedOrder,
    first?: { at?: Target; othersWaitFor?: Promise<void> | undefined },
  ): { first: Promise<Answer | undefined>; all: Promise<void> };
  /** Takes an order back, twice at once, and asks until it is known to be. */
  takeBack(order: PreparedOrder): Promise<void>;
  readonly answers: readonly Answer[];
  readonly cancels: readonly CancelAnswer[];
  close(): void;
}

export function recoveryClients(options: RecoveryClientsOptions): RecoveryClients {
  const { firstTargets, laterTargets, racers, strategy, over } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 40 });
  const answers: Answer[] = [];
  const cancels: CancelAnswer[] = [];
  const asked = new Map<string, number>();
  let turn = 0;
  const nextTarget = () => laterTargets[turn++ % laterTargets.length] ?? { host: '', port: 0 };
  /** Every request has a number of its own. */
  const nthOf = ({ orderId }: PreparedOrder) => {
    const nth = (asked.get(orderId) ?? 0) + 1;
    asked.set(orderId, nth);
    return nth;
  };
  const abandons: (() => void)[] = [];
  const abandonAll = () => {
    for (const abandon of abandons) abandon();
  };
  over.addEventListener('abort', abandonAll, { once: true });

  /** Sends the same again until it is answered for good. @returns the last answer */
  async function untilFinal<Told extends { result: Answer['result']; code: string | undefined }>(
    first: Promise<Told>,
    again: () => Promise<Told>,
  ): Promise<Told> {
    let told = await first;
    for (let pauseMs = FIRST_PAUSE_MS; !isFinal(told) && !over.aborted; ) {
      await pause(pauseMs, over);
      if (over.aborted) break;
      told = await again();
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
    return told;
  }

  const heard = <Request extends RaceRequest, Told>(
    into: Told[],
    read: (exchange: Exchange<Request>) => Told,
    exchange: Promise<Exchange<Request>>,
  ) =>
    exchange.then((one) => {
      const told = read(one);
      into.push(told);
      return told;
    });

  return {
    answers,
    cancels,
    pay(order, { at, othersWaitFor } = {}) {
      const held = Array.from({ length: racers }, (_, index) => {
        const isElsewhere = othersWaitFor !== undefined && index > 0;
        const first = isElsewhere ? undefined : (at ?? firstTargets[index % firstTargets.length]);
        const target = first ?? nextTarget();
        return holdRequest(confirmation(order, nthOf(order), strategy, target), {
          prepareTimeoutMs: PREPARE_LIMIT_MS,
          answerTimeoutMs: FIRST_ANSWER_LIMIT_MS,
          maxAnswerBytes: MOST_ANSWER_BYTES,
        });
      });
      void Promise.all(held.map((one) => one.held)).then(async () => {
        if (othersWaitFor !== undefined) {
          held[0]?.release();
          await othersWaitFor;
        }
        for (const one of othersWaitFor === undefined ? held : held.slice(1)) one.release();
      });
      const again = () =>
        heard<PurchaseRequest, Answer>(
          answers,
          answerOf,
          exchangeOver(agent, confirmation(order, nthOf(order), strategy, nextTarget()), ANSWER_LIMIT_MS),
        );
      const finals = held.map((one) => {
        abandons.push(one.abandon);
        return untilFinal(heard<PurchaseRequest, Answer>(answers, answerOf, one.exchange), again);
      });
      const all = Promise.all(finals);
      const first = new Promise<Answer | undefined>((resolve) => {
        for (const final of finals) void final.then((told) => isFinal(told) && resolve(told));
        void all.then(() => resolve(undefined));
      });
      return { first, all: all.then(() => undefined) };
    },

    async takeBack(order) {
      const ask = (target: Target) =>
        heard<CancelRequest, CancelAnswer>(
          cancels,
          cancelAnswerOf,
          exchangeOver(agent, cancellation(order, nthOf(order), target), ANSWER_LIMIT_MS),
        );
      const asking = Array.from({ length: CANCELLERS }, (_, index) =>
        untilFinal(ask(firstTargets[index % firstTargets.length] ?? nextTarget()), () => ask(nextTarget())),
      );
      await Promise.all(asking);
    },

    close() {
      over.removeEventListener('abort', abandonAll);
      agent.destroy();
    },
  };
}

function cancellation(order: PreparedOrder, nth: number, target: Target): CancelRequest {
  const { orderId, memberId } = order;
  const requestId = requestIdOf(order, nth);
  return {
    ...{ target, method: 'POST', path: `/api/orders/${orderId}/cancel`, body: '' },
    headers: { 'x-member-id': String(memberId), 'x-request-id': requestId },
    ...{ orderId, requestId },
  };
}

/** Waits, but not when it is over. */
async function pause(ms: number, over: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: over }).catch(() => undefined);
}
