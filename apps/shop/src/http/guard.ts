import type { FastifyRequest } from 'fastify';

/** Why a request comes no further. Nothing has been read of its body, and nothing looked up. */
export interface TurnedAway {
  readonly status: 400 | 401 | 403;
  readonly code: string;
  readonly message: string;
  /** For `WWW-Authenticate`. */
  readonly challenge?: string;
}

/** Judges a request by the auth rule of its route, and says whose it is. */
export type Guard = (request: FastifyRequest) => TurnedAway | undefined;
