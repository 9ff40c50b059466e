import type { IncomingHttpHeaders } from 'node:http';

/** Where a connection is opened to. */
export interface Target {
  /** A name, or the address itself where nobody is to resolve a name again. */
  host: string;
  port: number;
  /** Absent: in the clear. */
  tls?: TlsSettings;
  /** Absent: 1.1. With 2, all requests of a group to one target (the same object) share one connection. */
  http?: HttpVersion;
}

export type HttpVersion = '1.1' | '2';

/** How the server of an encrypted connection is known. */
export interface TlsSettings {
  /** The name that its certificate must be for. */
  name: string;
  /** Certificates in PEM that are trusted instead of the system's. */
  ca?: string;
  /** The certificate is not checked: anybody may answer. */
  insecure: boolean;
}

/** A request that is ready to be raced. Who needs more at hand, extends it: exchanges carry it back. */
export interface RaceRequest {
  target: Target;
  method: string;
  /** Path and query. */
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** What went over one connection. Times are of the monotonic clock, in microseconds. */
export interface Exchange<Request extends RaceRequest = RaceRequest> {
  request: Request;
  /** Absent when no complete answer came: a part of one is none. */
  status: number | undefined;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** When the last byte of the request was written, or would have been. */
  releasedAtUs: number;
  /** When the last byte of the answer was read, or when it was known that none would come. */
  answeredAtUs: number;
  /**
   * Why there is no answer: `timeout` (sent, not answered in time), `prepare-timeout` (not even connected in
   * time), `reset` (the connection or stream was lost), `too-large`, `too-few-streams` (the server allows fewer requests
   * at once on one connection), or Node's code, such as `ECONNREFUSED`.
   * With a status: `early-answer`, the server did not wait for the whole request.
   */
  error: string | undefined;
}

/** Limits of one request. */
export interface RequestLimits {
  /** From the first packet of the connection until everything but the last byte is sent. */
  prepareTimeoutMs: number;
  /** From the release until the last byte of the answer. */
  answerTimeoutMs: number;
  maxAnswerBytes: number;
}

export const DEFAULT_LIMITS: RequestLimits = {
  prepareTimeoutMs: 5_000,
  answerTimeoutMs: 30_000,
  maxAnswerBytes: 1_048_576,
};

/** The system's monotonic clock (CLOCK_MONOTONIC on Linux), in microseconds: the same in every process. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
