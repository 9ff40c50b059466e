import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Meter } from '@opentelemetry/api';
import type { PoolUse } from '../store/pool-use.ts';

/** How often the event loop is asked whether it is late, in milliseconds. */
const EVENT_LOOP_RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** How late the event loop is, since it was last read, and how busy the connections to the database are. @returns what ends it */
export function measureProcess(meter: Meter, pool: PoolUse): () => void {
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
  delay.enable();
  const gauge = (name: string, description: string) =>
    meter.createObservableGauge(`nodejs.eventloop.delay.${name}`, { description, unit: 's' });
  const p50 = gauge('p50', 'Event loop delay, median.');
  const p99 = gauge('p99', 'Event loop delay, 99th percentile.');
  const max = gauge('max', 'Event loop delay, longest.');
  meter.addBatchObservableCallback(
    (result) => {
      // Nothing has been seen of it yet.
      if (delay.count === 0) return;
      result.observe(p50, lateSeconds(delay.percentile(50)));
      result.observe(p99, lateSeconds(delay.percentile(99)));
      result.observe(max, lateSeconds(delay.max));
      delay.reset();
    },
    [p50, p99, max],
  );

  const connections = meter.createObservableUpDownCounter('db.client.connection.used', {
    description: 'Connections to the database that are lent.',
    unit: '{connection}',
  });
  connections.addCallback((result) => result.observe(pool.used));
  const pending = meter.createObservableUpDownCounter('db.client.connection.pending_requests', {
    description: 'Who waits for a connection to the database.',
    unit: '{request}',
  });
  pending.addCallback((result) => result.observe(pool.waiting));
  const most = meter.createObservableUpDownCounter('db.client.connection.max', {
    description: 'Most connections to the database at a time.',
    unit: '{connection}',
  });
  most.addCallback((result) => result.observe(pool.most));
  return () => delay.disable();
}

/** What is measured is from one question to the next. */
function lateSeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / NANOSECONDS - EVENT_LOOP_RESOLUTION_MS / 1_000);
}
