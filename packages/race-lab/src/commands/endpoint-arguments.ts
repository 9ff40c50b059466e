import type { HttpVersion } from '../racer/exchange.ts';

/** Somebody's endpoint, as `race` was told of it: by a race file, or by a method and a URL. */
export type EndpointSubject = { file: string } | { method: string; url: string };

/** The options of `race` for an endpoint. */
export interface EndpointArguments {
  data?: string;
  header?: string[];
  fanout?: number;
  expectOneSuccess?: boolean;
  expectAtMost?: number;
  rounds?: number;
  firstRound?: number;
  seconds?: number;
  http?: HttpVersion;
  ca?: string;
  insecure?: boolean;
  targetIsMine?: string;
  yesRaceIt?: boolean;
  json?: string;
}
