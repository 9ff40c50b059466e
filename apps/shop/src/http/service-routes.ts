import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { envelopeOf, problem, problems, success } from './envelope.ts';

export interface ServiceRouteOptions {
  readonly serverName: string;
  /** Whether it can serve members. */
  isReady(): Promise<boolean>;
  /** Lab mode: the isolation level of its sessions. */
  isolation?(): Promise<string>;
}

/** Routes about the instance itself. */
export function serviceRoutes(app: StrictServer, options: ServiceRouteOptions): void {
  const response = { 200: envelopeOf(Type.String()), ...problems };

  app.get('/ping', { schema: { response }, config: { auth: 'public' } }, async () =>
    success(options.serverName),
  );

  app.get('/health/live', { schema: { response }, config: { auth: 'public' } }, async () => success('live'));

  app.get('/health/ready', { schema: { response }, config: { auth: 'public' } }, async (_request, reply) => {
    if (await options.isReady()) {
      if (options.isolation !== undefined) reply.header('x-transaction-isolation', await options.isolation());
      return success('ready');
    }
    return reply.status(503).send(problem(503, 'not-ready', 'The store does not answer.'));
  });
}
