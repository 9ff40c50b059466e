import type { Meter } from '@opentelemetry/api';
import type { StrictServer } from '@pawl/service-kit';

/** In seconds, as the semantic conventions of OpenTelemetry have them, and longer: who waits for a lock waits. */
const BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30];
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT']);

/**
 * How long answers take, by method, route and status: the route's pattern and never an address, so that whoever makes up addresses
 * makes up no labels.
 */
export function measureRequests(app: StrictServer, meter: Meter): void {
  const duration = meter.createHistogram('http.server.request.duration', {
    description: 'Duration of HTTP server requests.',
    unit: 's',
    advice: { explicitBucketBoundaries: BOUNDARIES },
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? undefined : request.routeOptions.url;
    duration.record(reply.elapsedTime / 1_000, {
      'http.request.method': METHODS.has(request.method) ? request.method : '_OTHER',
      'http.response.status_code': reply.statusCode,
      ...(route === undefined ? {} : { 'http.route': route }),
    });
  });
}
