import { randomUUID } from 'node:crypto';
import type { Transaction } from '../book.ts';
import type { EventOf, FaultMoment } from '../events.ts';
import type { Decision } from '../ledger.ts';
import { createRandom } from '../random.ts';
import type { AnswerFault, LagRule, Rule, RuleBody } from './rule.ts';

const MAX_RULES = 10_000;

/** A request that a rule may strike, as the ledger names it. */
export type Target = Pick<EventOf<'request'>, 'operation' | 'paymentKey' | 'orderId' | 'requestId'>;

export interface Strike {
  readonly when: FaultMoment;
  readonly fault: AnswerFault;
  /** Puts it on record, with the decision that it hides or prevents. */
  record(decision: Decision): void;
}

export interface ListedRule {
  id: string;
  /** How many requests it has struck. */
  struck: number;
  rule: RuleBody;
}

/**
 * The rules by which answers go wrong. They live in memory only: a sandbox that is started again has none.
 *
 * A request is struck by one answer rule at most: the first, in the order in which they were added, that
 * matches what the request names, has not used up its `next`, and is drawn by its `share`. A rule that an
 * earlier one forestalls is not asked. Lags add up instead, since each is about other payments.
 */
export interface FaultRules {
  /** @returns The rule's id; undefined when there are 10,000 already. */
  add(body: RuleBody, rule: Rule): string | undefined;
  list(): ListedRule[];
  /** @returns Whether there was such a rule. */
  remove(id: string): boolean;
  clear(): void;
  /**
   * Asks the answer rules about one request. Whom it names is struck, whatever then becomes of it.
   *
   * @param when  Only the rules of that moment; absent: all.
   */
  strike(target: Target, when?: FaultMoment): Strike | undefined;
  /**
   * Which captures and refunds one reading does not show. A lag strikes the reading, and is on record, once it
   * hides something from it.
   */
  hiding(target: Target, decision: Decision): (transaction: Transaction) => boolean;
}

interface Entry {
  readonly id: string;
  readonly body: RuleBody;
  readonly rule: Rule;
  readonly random: () => number;
  /** How many matching requests it may still be asked about. */
  left: number;
  struck: number;
}

/**
 * @param seed  Of the shares. Every rule draws from a sequence of its own, so that neither the waiting times nor
 *              the draws of the other rules depend on it.
 */
export function createFaultRules(seed: number): FaultRules {
  const entries = new Map<string, Entry>();
  let added = 0;

  /** Whether a matching request is struck. */
  function drawn(entry: Entry): boolean {
    if (entry.left === 0) return false;
    entry.left--;
    if (entry.random() >= (entry.body.share ?? 1)) return false;
    entry.struck++;
    return true;
  }

  return {
    add(body, rule) {
      if (entries.size >= MAX_RULES) return undefined;
      const id = `flt_${randomUUID()}`;
      const random = createRandom(seed + added++);
      entries.set(id, { id, body, rule, random, left: body.next ?? Number.POSITIVE_INFINITY, struck: 0 });
      return id;
    },
    list: () => [...entries.values()].map(({ id, struck, body }) => ({ id, struck, rule: body })),
    remove: (id) => entries.delete(id),
    clear: () => entries.clear(),
    strike(target, onlyWhen) {
      for (const entry of entries.values()) {
        const { id, body, rule } = entry;
        if (isLag(rule) || rule.operation !== target.operation) continue;
        const { when, fault } = rule;
        if ((onlyWhen ?? when) !== when || !isAbout(body, target) || !drawn(entry)) continue;
        const event = { type: 'fault', ruleId: id, kind: fault.kind, when, ...named(target) } as const;
        return { when, fault, record: ({ append }) => append(event) };
      }
      return undefined;
    },
    hiding(target, { atMs, append }) {
      const lags = [...entries.values()].flatMap((entry) => {
        const { rule } = entry;
        return isLag(rule) && rule.operations.includes(target.operation)
          ? [{ entry, lagMs: rule.fault.lagMs }]
          : [];
      });
      const asked = new Map<Entry, boolean>();
      const strikes = (entry: Entry): boolean => {
        const known = asked.get(entry);
        if (known !== undefined) return known;
        const struck = drawn(entry);
        asked.set(entry, struck);
        if (struck) append({ type: 'fault', ruleId: entry.id, kind: 'lag', when: null, ...named(target) });
        return struck;
      };
      return (transaction) => {
        const ageMs = atMs - Date.parse(transaction.at);
        return lags.some(
          ({ entry, lagMs }) => ageMs < lagMs && isAbout(entry.body, transaction) && strikes(entry),
        );
      };
    },
  };
}

function isLag(rule: Rule): rule is LagRule {
  return rule.fault.kind === 'lag';
}

function isAbout(
  { orderId, paymentKey }: RuleBody,
  subject: Pick<Target, 'orderId' | 'paymentKey'>,
): boolean {
  return (
    (orderId === undefined || orderId === subject.orderId) &&
    (paymentKey === undefined || paymentKey === subject.paymentKey)
  );
}

function named({ operation, paymentKey, orderId, requestId }: Target): Target {
  return { operation, paymentKey, orderId, requestId };
}
