import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { envelopeOf, problem, problemsOf, success } from './envelope.ts';

export interface ServiceRouteOptions {
  readonly serverName: string;
  /** Whether it can serve members. */
  isReady(): Promise<boolean>;
  /** Lab mode: the isolation level of its sessions. */
  isolation?(): Promise<string>;
}

/** Routes about the instance itself. */
export function serviceRoutes(app: StrictServer, options: ServiceRouteOptions): void {
  const schema = { tags: ['service'], response: { 200: envelopeOf(Type.String()), ...problemsOf() } };
  const readySchema = {
    tags: ['service'],
    operationId: 'ready',
    summary: 'Whether it can serve members',
    response: { ...schema.response, ...problemsOf({ 'not-ready': { status: 503 } }) },
  };
  const config = { auth: 'public' } as const;

  app.get(
    '/ping',
    { schema: { ...schema, operationId: 'ping', summary: 'Which instance answers' }, config },
    async () => success(options.serverName),
  );

  app.get(
    '/health/live',
    { schema: { ...schema, operationId: 'live', summary: 'Whether its process answers' }, config },
    async () => success('live'),
  );

  app.get('/health/ready', { schema: readySchema, config }, async (_request, reply) => {
    if (await options.isReady()) {
      if (options.isolation !== undefined) reply.header('x-transaction-isolation', await options.isolation());
      return success('ready');
    }
    return reply.status(503).send(problem(503, 'not-ready', 'The store does not answer.'));
  });
}
