/** Where the shop is: `BASE_URL`, or the front door of `npm start`. */
export const BASE_URL = (__ENV.BASE_URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');

/** A whole number from 1 on, out of the environment. */
export function wholeNumber(name: string, otherwise: number): number {
  const text = __ENV[name] || String(otherwise);
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new Error(`${name} must be a whole number from 1 to 999999, got "${text}"`);
  return Number(text);
}

/** Of a request with a body. */
export const JSON_BODY = { 'Content-Type': 'application/json' };

/** Who asks: by his token, or in demo mode by his number. */
export function memberHeader(member: number, token = __ENV.TOKEN): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : { 'X-Member-Id': String(member) };
}

/** In lab mode a request may name its strategy: `STRATEGY`. */
export function strategyHeader(header: string): Record<string, string> {
  return __ENV.STRATEGY ? { [header]: __ENV.STRATEGY } : {};
}
