import type { StrictServer } from '@pawl/service-kit';

/**
 * Lab mode: every answer says which instance gave it, and when its request had arrived in full.
 *
 * The stamp is taken after the body has been read, since a racer sends everything but the last byte ahead of
 * time; and from the monotonic clock, which all processes of a machine share.
 */
export function stampArrivals(app: StrictServer, serverName: string): void {
  app.addHook('preValidation', async (_request, reply) => {
    reply.header('x-arrived-at-us', String(process.hrtime.bigint() / 1000n));
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-server-name', serverName);
  });
}
