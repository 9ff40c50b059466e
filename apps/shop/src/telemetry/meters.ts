import type { MeterProvider as Provider } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** The metrics of one instance. Nothing of them is global: several instances may share a process. */
export interface Meters {
  readonly provider: Provider;
  /** What has been counted since the start, in Prometheus' text format. */
  read(): Promise<string>;
  close(): Promise<void>;
}

export function openMeters(): Meters {
  // It serves nothing by itself: the shop's own route does.
  const reader = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({ readers: [reader] });
  // Whose metrics they are, whoever reads them knows by the address.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  return {
    provider,
    async read() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw new AggregateError(errors, 'metrics could not be collected');
      return `${serializer.serialize(resourceMetrics)}\n`;
    },
    close: () => provider.shutdown(),
  };
}
