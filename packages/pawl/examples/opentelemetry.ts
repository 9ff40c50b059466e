import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { done, idempotencyKeys, memoryIdempotencyStore, refused } from 'pawl';
import { instrumentPawl } from 'pawl/opentelemetry';

// In a service: whatever SDK you run, registered first; then `instrumentPawl()` finds its providers by itself.
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const spans = new InMemorySpanExporter();
const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: metrics });
const meterProvider = new MeterProvider({ readers: [reader] });

const stop = instrumentPawl({ tracerProvider, meterProvider });

const keys = idempotencyKeys(memoryIdempotencyStore(), { waitMs: 5_000 });
const pay = (key: string, soldOut = false) =>
  keys.run({ scope: ['member 1', 'POST /orders/pay'], key, payload: '{}' }, async () => {
    // A span of yours: it is below the guard's, which is active meanwhile.
    tracerProvider.getTracer('shop').startSpan('charge').end();
    return soldOut ? refused('sold-out') : done({ status: 200, body: Buffer.from('{"paid":true}') });
  });
await Promise.all(Array.from({ length: 50 }, () => pay('a')));
await pay('b', true);

const finished = spans.getFinishedSpans();
const charge = finished.find(({ name }) => name === 'charge');
const parent = finished.find((span) => span.spanContext().spanId === charge?.parentSpanContext?.spanId);
console.log(`charge is below ${parent?.name}`);

await meterProvider.forceFlush();
for (const { descriptor, dataPoints } of metrics.getMetrics()[0]?.scopeMetrics[0]?.metrics ?? []) {
  if (descriptor.name !== 'pawl.operations') continue;
  for (const { attributes, value } of dataPoints) console.log(value, Object.values(attributes).join(' '));
}
stop();
await meterProvider.shutdown();
