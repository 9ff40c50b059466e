import type { Answer } from './answer.ts';
import { byOrder, type Evidence } from './evidence.ts';
import type { LedgerEvent } from './ledger.ts';

/** One order of a run, with everything that is known to have happened to it. */
export interface RecordedOrder {
  orderId: string;
  /** The invariants that it violates; empty where no order of the run violates any. */
  violated: readonly string[];
  /** By time. */
  events: readonly RecordedEvent[];
}

export interface RecordedEvent {
  /** Since the first request of the order was sent, in milliseconds by the machine's monotonic clock. */
  atMs: number;
  /** It may have been so much later, in milliseconds: 0 for what was stamped by the monotonic clock itself. */
  uncertainMs: number;
  /** Who saw it. */
  by: 'client' | 'instance' | 'provider';
  /** `client 1`, the name of an instance, or `provider`. */
  lane: string;
  /**
   * Of a client: `sent`, `answered`, or `unanswered`. Of an instance: `arrived`, or `did`, with the step. Of the provider:
   * `asked`, `captured`, `refunded`, or `fault`.
   */
  what: 'sent' | 'answered' | 'unanswered' | 'arrived' | 'did' | 'asked' | 'captured' | 'refunded' | 'fault';
  /** Which of the order's requests, counted from 1; null where it is not known. */
  request: number | null;
  /** Of an answer. */
  status: number | null;
  /** The code of an answer or why there is none; the step; what the provider was asked for, and whether it took money for it. */
  detail: string | null;
}

/** How far the wall clock was ahead of the monotonic one when the run began, and when its evidence was gathered. */
export interface WallAheadUs {
  began: number;
  ended: number;
}

/** The ledger tells whole milliseconds, so that an event may have been almost one later. */
const LEDGER_STEP_MS = 1;

/**
 * Records the first order that violates an invariant, or the first of all. Null where there is none.
 *
 * Clients and instances stamp what they see with the monotonic clock that all processes of a machine share; the provider's
 * ledger has the wall clock, which is put beside the other by how far it was ahead.
 */
export function recordedOrder(
  { answers, ledger }: Pick<Evidence, 'answers' | 'ledger'>,
  violations: readonly { invariant: string; orderId: string }[],
  wallAheadUs: WallAheadUs,
): RecordedOrder | null {
  const orders = byOrder(answers);
  const violating = violations.find(({ orderId }) => orders.has(orderId));
  const [first] = orders.keys();
  const orderId = violating?.orderId ?? first;
  if (orderId === undefined) return null;
  const ofOrder = orders.get(orderId) ?? [];
  const zeroUs = Math.min(...ofOrder.map(({ releasedAtUs }) => releasedAtUs));
  const sinceStart = (us: number) => (us - zeroUs) / 1000;
  const requests = new Map(ofOrder.map(({ requestId }, index) => [requestId, index + 1]));
  const events = [
    ...ofOrder.flatMap((answer, index) => seenOutside(answer, index + 1, sinceStart)),
    ...seenByProvider(ledger, orderId, requests, { wallAheadUs, sinceStart }),
  ];
  const violated = violations.filter((violation) => violation.orderId === orderId);
  return {
    orderId,
    violated: [...new Set(violated.map(({ invariant }) => invariant))],
    // Stable: what has one stamp stays as it was told.
    events: events.sort((a, b) => a.atMs - b.atMs),
  };
}

/** What the client of a request and the instance that answered it saw. */
function seenOutside(answer: Answer, request: number, sinceStart: (us: number) => number): RecordedEvent[] {
  const { releasedAtUs, answeredAtUs, arrivedAtUs, steps, instance, status, code, replayed, error } = answer;
  const event = (
    by: RecordedEvent['by'],
    lane: string,
    what: RecordedEvent['what'],
    atUs: number,
  ): RecordedEvent => {
    return {
      ...{ atMs: sinceStart(atUs), uncertainMs: 0, by, lane, what, request },
      ...{ status: null, detail: null },
    };
  };
  const client = `client ${request}`;
  const told = replayed ? 'replay' : (code ?? null);
  const ended: RecordedEvent =
    status === undefined
      ? { ...event('client', client, 'unanswered', answeredAtUs), detail: error ?? null }
      : { ...event('client', client, 'answered', answeredAtUs), status, detail: told };
  const inside =
    instance === undefined
      ? []
      : [
          ...(arrivedAtUs === undefined ? [] : [event('instance', instance, 'arrived', arrivedAtUs)]),
          ...steps.map(({ name, atUs }) => ({
            ...event('instance', instance, 'did', atUs),
            detail: name,
          })),
        ];
  return [event('client', client, 'sent', releasedAtUs), ...inside, ended];
}

function seenByProvider(
  ledger: readonly LedgerEvent[],
  orderId: string,
  requests: ReadonlyMap<string, number>,
  clock: { wallAheadUs: WallAheadUs; sinceStart(us: number): number },
): RecordedEvent[] {
  const { began, ended } = clock.wallAheadUs;
  // Where the wall clock was moved meanwhile, nobody knows when: the earliest and the latest time are both possible.
  const mostAheadUs = Math.max(began, ended);
  const uncertainMs = LEDGER_STEP_MS + Math.abs(ended - began) / 1000;
  const captured = new Set(
    ledger.flatMap((event) => (event.type === 'capture' && event.orderId === orderId ? event.requestId : [])),
  );
  return ledger.flatMap((event): RecordedEvent[] => {
    if (!('orderId' in event) || event.orderId !== orderId) return [];
    return [
      {
        atMs: clock.sinceStart(Date.parse(event.at) * 1000 - mostAheadUs),
        uncertainMs,
        by: 'provider',
        lane: 'provider',
        ...whatOf(event, captured),
        request: (event.requestId === null ? undefined : requests.get(event.requestId)) ?? null,
        status: null,
      },
    ];
  });
}

function whatOf(
  event: Exclude<LedgerEvent, { type: 'session' | 'answer' }>,
  captured: ReadonlySet<string | null>,
): Pick<RecordedEvent, 'what' | 'detail'> {
  switch (event.type) {
    case 'request': {
      const { operation, requestId } = event;
      const forNothing = operation === 'confirm' && !captured.has(requestId);
      return { what: 'asked', detail: forNothing ? 'confirm, without a capture of its own' : operation };
    }
    case 'capture':
      return { what: 'captured', detail: `${event.amount} ${event.currency}` };
    case 'refund':
      return { what: 'refunded', detail: String(event.amount) };
    case 'fault':
      return { what: 'fault', detail: event.kind };
  }
}
