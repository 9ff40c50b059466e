import type { StrictServer } from '@pawl/service-kit';
import { guardByToken } from './bearer-tokens.ts';
import { guardNobody } from './demo-mode.ts';
import { problem } from './envelope.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. 0 on routes that are open to everybody. */
    memberId: number;
  }
}

export interface GuardOptions {
  readonly jwtSecret: string | undefined;
  /** Lets who reads the metrics in without a member's token. */
  readonly metricsToken: string | undefined;
}

/** Finds out who asks, before anything else is done for a request: by his token, or, in demo mode, by what he says. */
export async function identifyMembers(app: StrictServer, options: GuardOptions): Promise<void> {
  const { jwtSecret, metricsToken } = options;
  app.decorateRequest('memberId', 0);
  const guard =
    jwtSecret === undefined ? guardNobody : await guardByToken(app, { secret: jwtSecret, metricsToken });
  app.addHook('onRequest', async (request, reply) => {
    if (request.is404) return;
    const away = guard(request);
    if (away === undefined) return;
    if (away.challenge !== undefined) reply.header('www-authenticate', away.challenge);
    await reply.status(away.status).send(problem(away.status, away.code, away.message));
  });
}
