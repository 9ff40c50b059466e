import { type Static, Type } from 'typebox';
import { type ErrorCode, isErrorCode } from '../error-codes.ts';
import { type FaultMoment, faultKinds, faultMoments, type Operation, operations } from '../events.ts';
import { OrderId, PaymentKey } from '../fields.ts';

const MAX_DELAY_MS = 10 * 60 * 1000;
const MAX_LAG_MS = 24 * 60 * 60 * 1000;

/** A rule as it is given and listed. Which of its fields go together, `readRule` says. */
export const RuleBody = Type.Object(
  {
    operation: Type.Optional(
      Type.Enum(operations, { description: 'Absent: confirm; of a lag, look-ups and transactions.' }),
    ),
    orderId: Type.Optional(OrderId),
    paymentKey: Type.Optional(PaymentKey),
    share: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1, description: 'Which part of the matching requests, by chance.' }),
    ),
    next: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Only the next so many matching requests.' }),
    ),
    when: Type.Optional(
      Type.Enum(faultMoments, { description: 'Before or after the decision; of all faults but a lag.' }),
    ),
    fault: Type.Object(
      {
        kind: Type.Enum(faultKinds),
        code: Type.Optional(Type.String({ description: 'Of the kind code: one that the sandbox knows.' })),
        status: Type.Optional(
          Type.Integer({ minimum: 500, maximum: 599, description: 'Of the kind status.' }),
        ),
        delayMs: Type.Optional(
          Type.Integer({ minimum: 1, maximum: MAX_DELAY_MS, description: 'Of the kind slow.' }),
        ),
        lagMs: Type.Optional(
          Type.Integer({ minimum: 1, maximum: MAX_LAG_MS, description: 'Of the kind lag.' }),
        ),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);
export type RuleBody = Static<typeof RuleBody>;

/** What becomes of an answer. */
export type AnswerFault =
  | { readonly kind: 'code'; readonly code: ErrorCode }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'slow'; readonly delayMs: number }
  | { readonly kind: 'hang' | 'reset' | 'truncate' | 'garble' };
/** Captures and refunds that are younger are not shown. */
export interface Lag {
  readonly kind: 'lag';
  readonly lagMs: number;
}

/** Strikes the requests of one operation, before or after they are decided. */
export interface AnswerRule {
  readonly operation: Operation;
  readonly when: FaultMoment;
  readonly fault: AnswerFault;
}
/** Strikes what reads: one operation, or both. */
export interface LagRule {
  readonly operations: readonly Operation[];
  readonly fault: Lag;
}
export type Rule = AnswerRule | LagRule;

/** What a rule comes to, or why it could never do what it says. */
export function readRule(body: RuleBody): { rule: Rule } | { problem: string } {
  const { operation, orderId, paymentKey, when } = body;
  const fault = readFault(body.fault);
  if ('problem' in fault) return fault;
  if (fault.kind === 'lag') {
    if (when !== undefined) return { problem: 'when must be absent: a lag is about what is shown' };
    if (operation === 'confirm' || operation === 'cancel')
      return { problem: `operation must be lookup or transactions for a lag, got ${operation}` };
    return { rule: { operations: operation ? [operation] : ['lookup', 'transactions'], fault } };
  }
  if (when === undefined) return { problem: `when must be before or after for ${fault.kind}` };
  if (operation === 'transactions' && (orderId ?? paymentKey) !== undefined)
    return { problem: 'orderId and paymentKey must be absent: a request for transactions names none' };
  return { rule: { operation: operation ?? 'confirm', when, fault } };
}

function readFault({ kind, ...details }: RuleBody['fault']): AnswerFault | Lag | { problem: string } {
  const { code, status, delayMs, lagMs } = details;
  const given = Object.keys(details);
  const needs = (field: string) => ({
    problem: `fault must have ${field} besides its kind ${kind}, got ${given.join(' and ') || 'nothing'}`,
  });
  if (given.length > 1) return needs('at most one field');
  if (kind === 'code') {
    if (code === undefined) return needs('code');
    return isErrorCode(code) ? { kind, code } : { problem: `fault.code names no known code: ${code}` };
  }
  if (kind === 'status') return status === undefined ? needs('status') : { kind, status };
  if (kind === 'slow') return delayMs === undefined ? needs('delayMs') : { kind, delayMs };
  if (kind === 'lag') return lagMs === undefined ? needs('lagMs') : { kind, lagMs };
  return given.length > 0 ? needs('nothing') : { kind };
}
