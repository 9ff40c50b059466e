import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { envelopeOf, problem, problems, success } from './envelope.ts';

/** Routes about the instance itself. `isReady` says whether it can serve members. */
export function serviceRoutes(
  app: StrictServer,
  options: { serverName: string; isReady(): Promise<boolean> },
): void {
  const response = { 200: envelopeOf(Type.String()), ...problems };

  app.get('/ping', { schema: { response }, config: { auth: 'public' } }, async () =>
    success(options.serverName),
  );

  app.get('/health/live', { schema: { response }, config: { auth: 'public' } }, async () => success('live'));

  app.get('/health/ready', { schema: { response }, config: { auth: 'public' } }, async (_request, reply) => {
    if (await options.isReady()) return success('ready');
    return reply.status(503).send(problem(503, 'not-ready', 'The store does not answer.'));
  });
}
