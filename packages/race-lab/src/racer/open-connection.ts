import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Target, TlsSettings } from './exchange.ts';

/**
 * Begins to connect, without Nagle's delay; what is written meanwhile is sent afterwards. Over TLS the server is offered
 * the target's version of HTTP and no other.
 *
 * @throws RangeError  The port is none.
 */
export function openConnection(target: Target): Socket {
  const { host, port, tls, http } = target;
  if (tls === undefined) return connect({ host, port, noDelay: true });
  return openTls({ host, port, tls }, [http === '2' ? 'h2' : 'http/1.1']);
}

/** @param offered  Versions of HTTP, as ALPN names them. */
export function openTls(
  { host, port, tls }: Target & { tls: TlsSettings },
  offered: readonly string[],
): TLSSocket {
  const { name, ca, insecure } = tls;
  const socket = connectTls({
    ...{ host, port, ALPNProtocols: [...offered], rejectUnauthorized: !insecure },
    // By its address no server chooses a certificate; whether the certificate is for it is checked all the same.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(ca === undefined ? {} : { ca }),
  });
  return socket.setNoDelay(true);
}
