import type { StrictServer } from '@pawl/service-kit';
import { problem } from './envelope.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. 0 on routes that are open to everybody. */
    memberId: number;
  }
}

const DEFAULT_MEMBER = '1';

/** Demo mode: whoever asks says who he is, in `X-Member-Id`, and is member 1 when he does not. */
export function identifyMembers(app: StrictServer): void {
  app.decorateRequest('memberId', 0);
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.auth !== 'member') return;
    const id = request.headers['x-member-id'] ?? DEFAULT_MEMBER;
    if (typeof id !== 'string' || !/^[1-9]\d{0,14}$/.test(id)) {
      await reply
        .status(400)
        .send(
          problem(400, 'invalid-request', 'X-Member-Id must be a whole number from 1 to 999999999999999.'),
        );
      return;
    }
    request.memberId = Number(id);
  });
}
