import {
  type Attributes,
  type Counter,
  context,
  type MeterProvider,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { observe } from '../observe.ts';
import type { Ending, ObservedEvent, ObservedEventKind, Operation } from '../observer.ts';

export interface InstrumentPawlOptions {
  /** Default: the global one, also where it is registered later. */
  readonly tracerProvider?: TracerProvider;
  /** Default: the global one, which must be registered before. */
  readonly meterProvider?: MeterProvider;
}

/** What it is called by the providers. */
const SCOPE = 'pawl';

/** By twos to the largest batch that nobody has chosen, and beyond. */
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048];
/** In milliseconds: from the pause of one transaction to a wait for somebody's lock. */
const BATCH_WAITS_MS = [0.5, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
const BATCH_QUEUES = [0, 1, 4, 16, 64, 256, 1_024, 4_096, 16_384];

/** What each event is counted by, and called on a span. */
const EVENT_COUNTERS: Readonly<
  Record<ObservedEventKind, { readonly name: string; readonly unit: string; readonly description: string }>
> = {
  'lease-lost': {
    name: 'pawl.lease.lost',
    unit: '{lease}',
    description: 'Leases that were lost, or could not be confirmed in time, while their work ran',
  },
  'renewal-failed': {
    name: 'pawl.lease.renewal.failed',
    unit: '{renewal}',
    description: 'Renewals of a lease for which the store could not be asked',
  },
  'not-released': {
    name: 'pawl.lease.not_released',
    unit: '{lease}',
    description: 'Leases that could not be given back, and last until they end by themselves',
  },
  'not-stored': {
    name: 'pawl.answers.not_stored',
    unit: '{answer}',
    description: 'Answers that could not be stored, so that the next request runs the work again',
  },
  unknown: {
    name: 'pawl.calls.unknown',
    unit: '{call}',
    description: 'Durable calls whose outcome their owner did not hear',
  },
  failed: {
    name: 'pawl.calls.failed',
    unit: '{call}',
    description: 'Steps of durable calls that threw',
  },
  stuck: {
    name: 'pawl.calls.stuck',
    unit: '{call}',
    description: 'Durable calls that only an operator can settle',
  },
  'recovery-failed': {
    name: 'pawl.recovery.failed',
    unit: '{look}',
    description: 'Looks for durable calls to take over, or to forget, for which the store could not be asked',
  },
};

/**
 * Tells OpenTelemetry of every guard of this process: a span and a count for each operation, a count for each event, and of each
 * transaction that callers share its size, how long the first of them had waited, and how many others wait when it begins. Call it
 * once, when the providers are registered; each call tells everything once more.
 *
 * While an operation runs its span is the active one, so that those of the caller's queries and requests are its children; that needs
 * a context manager, which an SDK for Node registers. An event of a lock or a renewal is put on the span of the work that it strikes.
 *
 * A span's status is an error only where the operation threw: a lost race is a normal day. What was thrown is recorded by its code,
 * without its message, in which a driver may quote the values of a row.
 *
 * @returns ends it. The spans of operations that are under way still end.
 */
export function instrumentPawl({
  tracerProvider = trace.getTracerProvider(),
  meterProvider = metrics.getMeterProvider(),
}: InstrumentPawlOptions = {}): () => void {
  const tracer = tracerProvider.getTracer(SCOPE);
  const meter = meterProvider.getMeter(SCOPE);
  // None that is observed: where a view drops attributes, the SDK takes the last of those that become one, and loses the others.
  const operations = meter.createCounter('pawl.operations', {
    unit: '{operation}',
    description: 'Operations of the guards, by how they ended',
  });
  const duration = meter.createHistogram('pawl.operation.duration', {
    unit: 'ms',
    description: 'How long operations of the guards took; those that run work, with the work',
  });
  const batchSize = meter.createHistogram('pawl.batch.size', {
    unit: '{caller}',
    description: 'How many callers share a transaction',
    advice: { explicitBucketBoundaries: BATCH_SIZES },
  });
  const batchWait = meter.createHistogram('pawl.batch.wait', {
    unit: 'ms',
    description: 'How long the first caller of a shared transaction has waited when it begins',
    advice: { explicitBucketBoundaries: BATCH_WAITS_MS },
  });
  const batchLeft = meter.createHistogram('pawl.batch.left', {
    unit: '{caller}',
    description: 'How many others wait when a shared transaction begins',
    advice: { explicitBucketBoundaries: BATCH_QUEUES },
  });
  const counters = Object.fromEntries(
    Object.entries(EVENT_COUNTERS).map(([kind, { name, ...options }]) => [
      kind,
      meter.createCounter(name, options),
    ]),
  ) as Record<ObservedEventKind, Counter>;

  const happened = (event: ObservedEvent, span?: Span) => {
    const attributes = { 'pawl.guard': event.guard, ...errorType(event.code) };
    counters[event.kind].add(1, attributes);
    span?.addEvent(EVENT_COUNTERS[event.kind].name, attributes);
  };

  /** Of the operations that have been seen: there are as many as guards have steps. */
  const known = new WeakMap<Operation, OperationAttributes>();
  const attributesFor = (operation: Operation): OperationAttributes => {
    const found = known.get(operation);
    if (found !== undefined) return found;
    const attributes = attributesOf(operation);
    known.set(operation, attributes);
    return attributes;
  };

  return observe({
    began(operation) {
      const attributes = attributesFor(operation);
      const beganAtMs = performance.now();
      const span = tracer.startSpan(attributes.spanName, {
        kind: SpanKind.INTERNAL,
        attributes: attributes.begun,
      });
      return {
        // Where nobody traces there is no trace to be in.
        around: trace.isSpanContextValid(span.spanContext())
          ? (run) => context.with(trace.setSpan(context.active(), span), run)
          : undefined,
        claimed(claim) {
          const claimed: Attributes = {};
          if (claim.attempt !== undefined) claimed['pawl.attempt'] = claim.attempt;
          if (claim.takeover !== undefined) claimed['pawl.takeover'] = claim.takeover;
          span.setAttributes(claimed);
          span.addEvent('pawl.claimed', claimed);
        },
        tried: (attempt) => void span.setAttribute('pawl.attempt', attempt),
        // One that comes late counts all the same, and finds its span at its end.
        happened: (event) => happened(event, span.isRecording() ? span : undefined),
        ended(ending) {
          const ended = endingFor(attributes, ending);
          operations.add(1, ended.counted);
          duration.record(performance.now() - beganAtMs, ended.timed);
          span.setAttributes(ended.ofSpan);
          if (ending.outcome === 'failed') fail(span, ending);
          span.end();
        },
      };
    },
    happened: (event) => happened(event),
    batched({ group, store, size, waitedMs, left }) {
      const attributes = { 'pawl.group': group, 'pawl.store': store };
      batchSize.record(size, attributes);
      batchWait.record(waitedMs, attributes);
      batchLeft.record(left, attributes);
    },
  });
}

function spanName({ guard, step }: Operation): string {
  return step === undefined ? `pawl.${guard}` : `pawl.${guard}.${step}`;
}

/** What is said of an operation each time: all of closed sets, so it is made once. */
interface OperationAttributes {
  readonly spanName: string;
  readonly begun: Attributes;
  readonly counted: Attributes;
  readonly endings: Map<string, EndingAttributes>;
}

interface EndingAttributes {
  readonly counted: Attributes;
  readonly timed: Attributes;
  readonly ofSpan: Attributes;
}

function attributesOf(operation: Operation): OperationAttributes {
  const { guard, step, store } = operation;
  const counted = { 'pawl.guard': guard, ...(step && { 'pawl.step': step }) };
  const begun = { ...counted, ...(store && { 'pawl.store': store }) };
  return { spanName: spanName(operation), begun, counted, endings: new Map() };
}

function endingFor({ counted, endings }: OperationAttributes, ending: Ending): EndingAttributes {
  const name = nameOf(ending);
  const known = endings.get(name);
  if (known !== undefined) return known;
  const ofSpan = endingAttributes(ending);
  const { 'pawl.outcome': outcome } = ofSpan;
  const attributes = {
    counted: { ...counted, ...ofSpan },
    timed: { ...counted, 'pawl.outcome': outcome },
    ofSpan,
  };
  endings.set(name, attributes);
  return attributes;
}

/** Another for each that is told otherwise. */
function nameOf(ending: Ending): string {
  switch (ending.outcome) {
    case 'done':
      return ending.replayed ? 'replayed' : 'done';
    case 'refused':
      return `refused ${ending.reason ?? ''}`;
    case 'unknown':
      return 'unknown';
    case 'failed':
      return `failed ${ending.code}`;
  }
}

function endingAttributes(ending: Ending): Attributes & { readonly 'pawl.outcome': Ending['outcome'] } {
  const outcome = { 'pawl.outcome': ending.outcome };
  switch (ending.outcome) {
    case 'done':
      return { ...outcome, 'pawl.replayed': ending.replayed };
    case 'refused':
      return { ...outcome, ...(ending.reason && { 'pawl.reason': ending.reason }) };
    case 'unknown':
      return outcome;
    case 'failed':
      return { ...outcome, ...errorType(ending.code) };
  }
}

function errorType(code: ObservedEvent['code']): Attributes {
  // `_OTHER` is the conventions' word for an error of no known type.
  return code === undefined ? {} : { 'error.type': code === 'OTHER' ? '_OTHER' : code };
}

function fail(span: Span, { code, effect }: Extract<Ending, { outcome: 'failed' }>): void {
  if (effect !== undefined) span.setAttribute('pawl.effect', effect);
  span.setStatus({ code: SpanStatusCode.ERROR, message: code });
  span.recordException({ name: code });
}
