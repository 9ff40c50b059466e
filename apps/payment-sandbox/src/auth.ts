import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import type { StrictServer } from '@pawl/service-kit';
import { type Answer, KeyRefusedError, refusal, send } from './answer.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an address, or the name `localhost`, leads to this machine only. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

/**
 * Enforces every route's auth rule, before its body is read: `provider-key` asks for the secret key, `lab` for
 * a caller on this machine. A refused key is thrown, so that the route's own error handler records the request.
 */
export function guardRoutes(app: StrictServer, secretKey: string): void {
  app.addHook('onRequest', async (request, reply) => {
    const rule = request.routeOptions.config?.auth;
    if (rule === 'provider-key') {
      const refused = refusalOfKey(request.headers.authorization, secretKey);
      if (refused !== undefined) throw new KeyRefusedError(refused);
    }
    if (rule !== 'lab' || isLoopback(request.ip)) return;
    await send(reply, refusal('FORBIDDEN_REQUEST'));
    return reply;
  });
}

function refusalOfKey(authorization: string | undefined, secretKey: string): Answer | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(authorization ?? '')?.[1];
  const credentials = Buffer.from(encoded ?? '', 'base64').toString('utf8');
  if (!credentials.includes(':')) return refusal('INCORRECT_BASIC_AUTH_FORMAT');
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const right = timingSafeEqual(digest(credentials), digest(`${secretKey}:`));
  return right ? undefined : refusal('UNAUTHORIZED_KEY');
}
