import type { Guard } from './guard.ts';

const DEFAULT_MEMBER = '1';

/** Demo mode: whoever asks says who he is, in `X-Member-Id`, and is member 1 when he does not. Everybody is an operator. */
export const guardNobody: Guard = (request) => {
  if (request.routeOptions.config.auth !== 'member') return undefined;
  const id = request.headers['x-member-id'] ?? DEFAULT_MEMBER;
  if (typeof id !== 'string' || !/^[1-9]\d{0,14}$/.test(id)) {
    const message = 'X-Member-Id must be a whole number from 1 to 999999999999999.';
    return { status: 400, code: 'invalid-request', message };
  }
  request.memberId = Number(id);
  return undefined;
};
