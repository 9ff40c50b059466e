import { METHODS, validateHeaderName, validateHeaderValue } from 'node:http';
import { BadArgumentsError } from '../commands/arguments.ts';
import type { RaceRequest, Target } from '../racer/exchange.ts';
import type { Member, RequestToRace } from './define-race.ts';

/** A request that is ready to be raced, and which of its round it is. */
export interface MemberRequest extends RaceRequest, Member {}

/** @throws BadArgumentsError  It cannot be sent as it is: its URL, its method, a header, or two bodies. */
export async function buildRequest(
  request: RequestToRace,
  member: Member,
  targetOf: (url: URL) => Promise<Target>,
): Promise<MemberRequest> {
  // What a race file without types would return.
  if (typeof request?.url !== 'string')
    throw new BadArgumentsError('a request needs a url: what request returns has none');
  if (request.body !== undefined && typeof request.body !== 'string') {
    throw new BadArgumentsError('the body of a request must be a text; json takes any value');
  }
  const { method = 'POST', json } = request;
  const url = raceableUrl(request.url);
  if (!METHODS.includes(method) || method === 'CONNECT') {
    throw new BadArgumentsError(`the method must be one of HTTP's, in capital letters, got "${method}"`);
  }
  if (json !== undefined && request.body !== undefined) {
    throw new BadArgumentsError('a request has a body or json, not both');
  }
  const headers: Record<string, string> = { host: url.host };
  if (json !== undefined) headers['content-type'] = 'application/json';
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    headers[checkedName(name, value)] = value;
  }
  const body = json === undefined ? (request.body ?? '') : JSON.stringify(json);
  return { ...member, target: await targetOf(url), method, path: url.pathname + url.search, headers, body };
}

/** @throws BadArgumentsError  It is no `http:` or `https:` URL, or it has credentials in it. */
function raceableUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new BadArgumentsError(`a race needs an http:// or https:// URL, got "${text}"`);
  }
  if (url.username === '' && url.password === '') return url;
  throw new BadArgumentsError('a URL with a password in it is not raced: give the header authorization');
}

/** What frames a message, or is about its connection, is the lab's to say: with it wrong, the server would wait for something else. */
const FRAMING = [
  'connection',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'keep-alive',
  'proxy-connection',
  'http2-settings',
  'expect',
  'te',
];

function checkedName(name: string, value: unknown): string {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value as string);
  } catch {
    throw new BadArgumentsError(`the header ${JSON.stringify(name)} cannot be sent as it is`);
  }
  const lower = name.toLowerCase();
  if (typeof value === 'string' && !FRAMING.includes(lower)) return lower;
  throw new BadArgumentsError(
    `the header ${name} ${typeof value === 'string' ? 'is not for a race to set' : 'must be a text'}`,
  );
}
