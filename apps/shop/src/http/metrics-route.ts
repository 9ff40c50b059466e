import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { problemsOf } from './envelope.ts';

/** What Prometheus is to read it as. */
const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';

/** What has been counted. Of the port that members use, so whoever is not to see it is kept from it by the auth rule. */
export function metricsRoute(app: StrictServer, read: () => Promise<string>): void {
  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'readMetrics',
        summary: 'Metrics of this instance, as Prometheus reads them',
        tags: ['service'],
        response: {
          200: { description: 'What was asked for.', content: { 'text/plain': { schema: Type.String() } } },
          ...problemsOf(),
        },
      },
      config: { auth: 'scraper' },
    },
    async (_request, reply) => reply.type(TEXT_FORMAT).send(await read()),
  );
}
