import { createHash, timingSafeEqual } from 'node:crypto';
import jwt from '@fastify/jwt';
import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import Value from 'typebox/value';
import type { Guard, TurnedAway } from './guard.ts';

/** What a token must say of its bearer. `role`: any other than `operator` means nothing. */
const claimsSchema = Type.Object({
  sub: Type.String({ pattern: '^[1-9][0-9]{0,14}$' }),
  role: Type.Optional(Type.Unknown()),
});

const UNAUTHENTICATED: TurnedAway = {
  status: 401,
  code: 'unauthenticated',
  message: 'This needs a token: Authorization: Bearer …',
  challenge: 'Bearer',
};
/** The same, whatever is wrong with it. */
const BAD_TOKEN: TurnedAway = {
  status: 401,
  code: 'unauthenticated',
  message: 'The token is not valid.',
  challenge: 'Bearer error="invalid_token"',
};
const EXPIRED: TurnedAway = { ...BAD_TOKEN, code: 'token-expired', message: 'The token has expired.' };
const FORBIDDEN: TurnedAway = { status: 403, code: 'forbidden', message: 'This is for operators.' };

interface Bearer {
  readonly memberId: number;
  readonly isOperator: boolean;
}

/**
 * Members and operators are known by a signed token (JWT, HS256 and nothing else) that has an end: `sub` is the member's id in
 * decimal digits, `role` is `operator` for who runs the shop. What the route's rule does not name is for nobody.
 */
export async function guardByToken(
  app: StrictServer,
  { secret, metricsToken }: { secret: string; metricsToken: string | undefined },
): Promise<Guard> {
  await app.register(jwt, {
    secret,
    verify: { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'], cache: false },
  });

  function read(token: string): Bearer | TurnedAway {
    let claims: unknown;
    try {
      claims = app.jwt.verify(token);
    } catch (error) {
      // Its signature has been verified by then, so only who once had a token hears this.
      return codeOf(error) === 'FAST_JWT_EXPIRED' ? EXPIRED : BAD_TOKEN;
    }
    if (!Value.Check(claimsSchema, claims)) return BAD_TOKEN;
    return { memberId: Number(claims.sub), isOperator: claims.role === 'operator' };
  }

  return (request) => {
    const rule = request.routeOptions.config.auth;
    if (rule === 'public') return undefined;
    const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return UNAUTHENTICATED;
    if (rule === 'scraper' && metricsToken !== undefined && isSame(token, metricsToken)) return undefined;
    const bearer = read(token);
    if ('status' in bearer) return bearer;
    if (rule !== 'member' && !(bearer.isOperator && (rule === 'operator' || rule === 'scraper'))) {
      return FORBIDDEN;
    }
    request.memberId = bearer.memberId;
    return undefined;
  };
}

/** In a time that does not depend on where they differ. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

function codeOf(error: unknown): unknown {
  return (Object(error) as { code?: unknown }).code;
}
