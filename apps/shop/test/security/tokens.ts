import { createHmac } from 'node:crypto';

export const JWT_SECRET = 'the-key-of-the-tokens-of-these-tests';

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Seconds since 1970, so many from now. */
export const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;

/** A token of these claims, made by hand, so that it need not be one that anybody would issue. */
export function tokenOf(
  claims: object,
  { secret = JWT_SECRET, header = { alg: 'HS256', typ: 'JWT' } as object, hash = 'sha256' } = {},
): string {
  const signed = `${base64url(header)}.${base64url(claims)}`;
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** The headers of a member, or of an operator, whose token is good for a minute. */
export const asMember = (id: number) => bearer(tokenOf({ sub: String(id), exp: inSeconds(60) }));
export const asOperator = () => bearer(tokenOf({ sub: '999', role: 'operator', exp: inSeconds(60) }));
export const asBearerOf = bearer;
