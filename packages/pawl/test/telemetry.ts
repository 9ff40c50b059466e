import { type Attributes, context, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { DataPointType, MeterProvider, MetricReader, type ViewOptions } from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { expect } from 'vitest';
import { instrumentPawl } from '../src/adapters/opentelemetry.ts';

/** A reader that is asked, and exports to nobody. */
class AskedReader extends MetricReader {
  protected override onForceFlush = async () => undefined;
  protected override onShutdown = async () => undefined;
}

interface Point {
  readonly name: string;
  readonly unit: string;
  readonly attributes: Attributes;
  /** The sum of a counter; how many values a histogram has. */
  readonly value: number;
  /** Of a histogram, the sum of its values. */
  readonly sum?: number;
}

/** What OpenTelemetry's SDK has been told, by whoever was given its providers. */
export interface Telemetry {
  readonly tracer: Tracer;
  readonly tracerProvider: TracerProvider;
  readonly meterProvider: MeterProvider;
  /** In the order of their ends. */
  spans(): readonly ReadableSpan[];
  points(name?: string): Promise<readonly Point[]>;
  /** Everything that leaves the process. */
  exported(): Promise<string>;
}

/** @param views  Of the metrics, as whoever sets up the SDK may give. */
export function openTelemetry(views: ViewOptions[] = []): Telemetry {
  // One for the process: the API keeps it.
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const reader = new AskedReader();
  const meterProvider = new MeterProvider({ readers: [reader], views });

  async function points(): Promise<Point[]> {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) throw new AggregateError(errors);
    const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
    return all.flatMap(({ descriptor: { name, unit }, ...metric }) =>
      metric.dataPoints.map(({ attributes, value }) => {
        if (metric.dataPointType !== DataPointType.HISTOGRAM) {
          return { name, unit, attributes, value: Number(value) };
        }
        const { count, sum } = value as { count: number; sum: number };
        return { name, unit, attributes, value: count, sum };
      }),
    );
  }

  return {
    tracer: tracerProvider.getTracer('caller'),
    tracerProvider,
    meterProvider,
    spans: () => exporter.getFinishedSpans(),
    points: async (name) => (await points()).filter((point) => name === undefined || point.name === name),
    async exported() {
      const spans = exporter.getFinishedSpans().map(({ name, kind, attributes, events, status, links }) => ({
        name,
        kind,
        attributes,
        events,
        status,
        links,
      }));
      return JSON.stringify({ spans, points: await points() });
    },
  };
}

/** What is told while `work` runs, whatever comes of it: its spans, each as `shown`, the innermost first, since they end first. */
export async function toldOf(work: () => Promise<unknown>): Promise<string[]> {
  const telemetry = openTelemetry();
  const stop = instrumentPawl(telemetry);
  await work()
    .catch(() => undefined)
    .finally(stop);
  const spans = telemetry.spans();
  const counted = (await telemetry.points('pawl.operations')).flatMap(({ attributes, value }) =>
    Array.from({ length: value }, () => ended(attributes)),
  );
  // What is counted is what the spans say.
  expect(counted.toSorted()).toEqual(spans.map(({ attributes }) => ended(attributes)).toSorted());
  return spans.map(shown);
}

/** `unique-claim.claim done takeover`: guard and step, outcome, why, and what is known of the claim. */
function shown({ attributes }: ReadableSpan): string {
  const claim = [
    attributes['pawl.attempt'] === undefined ? '' : ` attempt ${attributes['pawl.attempt']}`,
    attributes['pawl.takeover'] === true ? ' takeover' : '',
  ];
  return `${ended(attributes)}${claim.join('')}`;
}

function ended(attributes: Attributes): string {
  const { 'pawl.guard': guard, 'pawl.step': step, 'pawl.outcome': outcome } = attributes;
  const why = attributes['pawl.reason'] ?? attributes['error.type'];
  const what = step === undefined ? guard : `${guard}.${step}`;
  const replayed = attributes['pawl.replayed'] === true ? ' replayed' : '';
  return `${what} ${outcome}${why === undefined ? '' : ` ${why}`}${replayed}`;
}
