import type { FailpointName } from 'pawl/failpoints';
import { type RecoveryPath, type RecoveryPathName, recoveryPaths } from './recovery-paths.ts';
import { eagerEnv, reconcilingEnv, recoveryTimes } from './recovery-settings.ts';

type Env = Readonly<Record<string, string>>;

/** What becomes of one instance. */
export type Victim =
  /**
   * At a failpoint it dies and is started again at once, or it stands still until all orders of its cell have gone on.
   * `envAfter`: settings with which it is started again.
   */
  | { does: 'dies' | 'stands-still'; at: FailpointName; visit: number; env: Env; envAfter: Env }
  /** It runs with wrong settings, and after a while with the right ones. */
  | { does: 'misbehaves'; env: Env; forMs: number };

/** Orders that go through the same, while the same goes wrong. */
export interface RecoveryCell {
  kind: 'failpoint' | 'fault' | 'standstill';
  name: string;
  path: RecoveryPath;
  victim?: Victim;
  /** How long the provider is made to take, in milliseconds. */
  delayMs: number;
  /** How long payment windows live, in milliseconds. */
  sessionMs: number;
}

interface Place {
  on: RecoveryPathName;
  /** Of those that recover any may pass it, so the one that is to strike must be the first to look. */
  isRecoverys?: true;
  visit?: number;
  env?: Env;
  envAfter?: Env;
}

/** Where the library's failpoints lie, by the step that is before the last dot. */
const places: Readonly<Record<string, Place>> = {
  'durable-call.claim': { on: 'paid' },
  'durable-call.send': { on: 'paid' },
  'durable-call.settle': { on: 'paid' },
  'durable-call.decline': { on: 'declined' },
  'durable-call.unknown': { on: 'answer-lost' },
  // Nobody listens there.
  'durable-call.forget': { on: 'paid', env: { PAYMENT_BASE_URL: 'http://127.0.0.1:1' } },
  'durable-call.take-over': { on: 'answer-lost', isRecoverys: true },
  'durable-call.look-up': { on: 'answer-lost', isRecoverys: true },
  'durable-call.send-again': { on: 'request-lost', isRecoverys: true },
  'durable-call.wait': { on: 'look-up-fails', isRecoverys: true },
  'durable-call.release': { on: 'error-recorded', isRecoverys: true },
  'compensation.begin': { on: 'drawn' },
  'compensation.reopen': { on: 'taken-back' },
  'compensation.adopt': { on: 'stray', env: reconcilingEnv, envAfter: reconcilingEnv },
  'compensation.look-up': { on: 'refund-lost', isRecoverys: true },
  'compensation.send': { on: 'taken-back' },
  'compensation.end': { on: 'taken-back' },
  'compensation.wait': { on: 'refund-lost' },
};

/** Passed at every look, from the start on: it strikes when there is something to take over, for as long as there can be. */
const eachLook: Place = {
  on: 'error-recorded',
  visit: 60,
  env: { RECOVERY_EVERY_MS: '100', RECOVERY_MOST: '4' },
};

function placeOf(failpoint: FailpointName): Place {
  if (failpoint === 'durable-call.take-over.before') return eachLook;
  const place = places[failpoint.slice(0, failpoint.lastIndexOf('.'))];
  if (place === undefined) throw new RangeError(`no path is known on which ${failpoint} lies`);
  return place;
}

/** A cell in which an instance dies at the failpoint. */
export function failpointCell(failpoint: FailpointName): RecoveryCell {
  const { on, isRecoverys, visit = 1, env = {}, envAfter = {} } = placeOf(failpoint);
  return {
    kind: 'failpoint',
    name: failpoint,
    path: recoveryPaths[on],
    victim: {
      ...{ does: 'dies', at: failpoint, visit, envAfter },
      env: { ...(isRecoverys ? eagerEnv : {}), ...env },
    },
    delayMs: 0,
    sessionMs: recoveryTimes.sessionMs,
  };
}
