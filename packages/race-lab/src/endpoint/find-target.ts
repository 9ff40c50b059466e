import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { BlockList, connect, isIPv6 } from 'node:net';
import { BadArgumentsError } from '../commands/arguments.ts';
import type { HttpVersion, Target, TlsSettings } from '../racer/exchange.ts';
import { openTls } from '../racer/open-connection.ts';

export interface TargetOptions {
  /** Absent: what the server prefers over TLS, and 1.1 in the clear. */
  http: HttpVersion | undefined;
  ca: string | undefined;
  insecure: boolean;
  /** What its owner said of a target that is not on this machine. */
  mine: { host: string | undefined; yes: boolean };
  fanout: number;
}

const MOST_FANOUT_ELSEWHERE = 20;

const PROBE_LIMIT_MS = 5_000;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an address is one of this machine that nobody else can reach. */
export function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/**
 * Finds out where the requests for a URL go, once for each origin.
 *
 * A name is resolved once, every address that it has must be allowed, and connections are made to the address that was
 * checked, never to the name. Otherwise: (1) we look up `pay.test` and read 127.0.0.1; (2) its owner, whose records live for
 * no second, changes it to 203.0.113.7; (3) we connect to `pay.test`, and a hundred requests strike somebody else's server.
 *
 * @throws BadArgumentsError  The URL cannot be raced, its name has no address, or the target is not this machine's and has
 *   not been acknowledged twice; nothing was sent to it.
 */
export function targetFinder(options: TargetOptions): (url: URL) => Promise<Target> {
  const found = new Map<string, Promise<Target>>();
  return (url) => {
    const known = found.get(url.origin) ?? findTarget(url, options);
    found.set(url.origin, known);
    return known;
  };
}

async function findTarget(url: URL, options: TargetOptions): Promise<Target> {
  const isTls = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = await addressesOf(name);
  if (!addresses.every(isLoopback)) checkAcknowledged(name, addresses, options);
  const port = Number(url.port || (isTls ? 443 : 80));
  const host = await firstThatAccepts(addresses, port);
  const { http, ca, insecure } = options;
  if (!isTls) return { host, port, http: http ?? '1.1' };
  const tls: TlsSettings = { name, insecure, ...(ca === undefined ? {} : { ca }) };
  return { host, port, tls, http: http ?? (await preferredHttp({ host, port, tls })) };
}

async function addressesOf(name: string): Promise<string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new BadArgumentsError(`${name} cannot be resolved: ${code}`);
  }
}

function checkAcknowledged(name: string, addresses: readonly string[], { mine, fanout }: TargetOptions) {
  if (mine.host !== name || !mine.yes) {
    throw new BadArgumentsError(
      `${name} (${addresses.join(', ')}) is not this machine: a race is an attack on whoever did not ask for it. ` +
        `If the service is yours, say so twice: --target-is-mine ${name} --yes-race-it`,
    );
  }
  if (fanout <= MOST_FANOUT_ELSEWHERE) return;
  throw new BadArgumentsError(
    `--fanout must be at most ${MOST_FANOUT_ELSEWHERE} where the target is not this machine`,
  );
}

/** `localhost` has two addresses, and many servers listen at one; where none accepts, the race tells it of the first. */
async function firstThatAccepts(addresses: readonly string[], port: number): Promise<string> {
  const [first = '', ...others] = addresses;
  if (others.length === 0) return first;
  for (const host of addresses) {
    const socket = connect({ host, port });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(PROBE_LIMIT_MS) });
      return host;
    } catch {
      // Nobody listens at this one.
    } finally {
      socket.destroy();
    }
  }
  return first;
}

/** What the server chooses when it is offered both. What is wrong with the connection, the race itself will tell. */
async function preferredHttp(target: Target & { tls: TlsSettings }): Promise<HttpVersion> {
  // Only the choice is read here, and nothing is sent: the race checks the certificate.
  const socket = openTls({ ...target, tls: { ...target.tls, insecure: true } }, ['h2', 'http/1.1']);
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(PROBE_LIMIT_MS) });
    return socket.alpnProtocol === 'h2' ? '2' : '1.1';
  } catch {
    return '1.1';
  } finally {
    socket.destroy();
  }
}
