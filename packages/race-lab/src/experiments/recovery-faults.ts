import type { GatewayMode } from '../cluster/cluster.ts';
import type { ProviderFault } from './provider-faults.ts';
import type { RecoveryCell, Victim } from './recovery-cells.ts';
import { type RecoveryPath, recoveryPaths } from './recovery-paths.ts';
import { recoveryTimes } from './recovery-settings.ts';

/** Far longer than the shop waits for an answer. */
const DELAY_MS = 30_000;
/** Payment windows in which such an answer is still worth something. */
const LONG_SESSION_MS = 45_000;
/** Less than the margin after a session's end. */
const LAG_MS = 700;
/** For how long the wrong credentials are deployed. */
const WRONG_FOR_MS = 2_000;

/** How the provider is told apart, where it matters to what is promised. */
export interface ProviderKind {
  gateway: GatewayMode;
  /** It repeats an error answer for ever under an idempotency key. */
  replayErrors: boolean;
}

interface FaultUnderTest {
  /** In a line. */
  title: string;
  faults?: readonly ProviderFault[];
  victim?: Victim;
  path?: RecoveryPath;
  delayMs?: number;
  /** Whether asking again cannot settle it, so that it may last until its session's end. */
  mayOutlastSession(provider: ProviderKind): boolean;
  /** It says nothing about a provider without idempotency keys. */
  onlyWithKeys?: true;
  kind?: 'standstill';
}

const never = () => false;
const withoutKeys = ({ gateway }: ProviderKind) => gateway !== 'toss';
const whereRecorded = (provider: ProviderKind) => withoutKeys(provider) || provider.replayErrors;

const confirm = (when: 'before' | 'after', fault: ProviderFault['fault']): ProviderFault[] => [
  { operation: 'confirm', next: 1, when, fault },
];

const dying = { visit: 1, env: {}, envAfter: {} } as const;

/** What goes wrong with the payment provider, or with whoever asks it. */
const faults = {
  'error-before': {
    title: 'the provider answers 503 instead of capturing',
    faults: confirm('before', { kind: 'status', status: 503 }),
    mayOutlastSession: whereRecorded,
  },
  'error-after': {
    title: 'it captures, and answers 503',
    faults: confirm('after', { kind: 'status', status: 503 }),
    mayOutlastSession: never,
  },
  'reset-before': {
    title: 'it resets the connection instead of capturing',
    faults: confirm('before', { kind: 'reset' }),
    mayOutlastSession: withoutKeys,
  },
  'reset-after': {
    title: 'it captures, and resets the connection',
    faults: confirm('after', { kind: 'reset' }),
    mayOutlastSession: never,
  },
  'silence-before': {
    title: 'it falls silent instead of capturing',
    faults: confirm('before', { kind: 'hang' }),
    mayOutlastSession: withoutKeys,
  },
  'silence-after': {
    title: 'it captures, and falls silent',
    faults: confirm('after', { kind: 'hang' }),
    mayOutlastSession: never,
  },
  truncated: {
    title: 'it captures, and sends half of its answer',
    faults: confirm('after', { kind: 'truncate' }),
    mayOutlastSession: never,
  },
  garbled: {
    title: 'it captures, and answers what nobody can read',
    faults: confirm('after', { kind: 'garble' }),
    mayOutlastSession: never,
  },
  'late-capture': {
    title: 'it captures 30 s later, when the shop has long ceased to listen',
    faults: confirm('before', { kind: 'slow', delayMs: DELAY_MS }),
    delayMs: DELAY_MS,
    mayOutlastSession: never,
  },
  'late-answer': {
    title: 'it captures, and answers 30 s later',
    faults: confirm('after', { kind: 'slow', delayMs: DELAY_MS }),
    delayMs: DELAY_MS,
    mayOutlastSession: never,
  },
  'look-up-lags': {
    title: `it captures, resets the connection, and does not show the capture for ${LAG_MS} ms`,
    faults: [
      ...confirm('after', { kind: 'reset' }),
      { operation: 'lookup', fault: { kind: 'lag', lagMs: LAG_MS } },
    ],
    mayOutlastSession: never,
  },
  'wrong-credentials': {
    title: `one instance has wrong credentials for ${WRONG_FOR_MS} ms`,
    victim: { does: 'misbehaves', env: { PAYMENT_SECRET_KEY: 'test_sk_wrong' }, forMs: WRONG_FOR_MS },
    mayOutlastSession: withoutKeys,
  },
  'stopped-before-charge': {
    kind: 'standstill',
    title:
      'an owner stands still before it charges; its order is declined, released, and paid with another key; then it goes on',
    path: recoveryPaths.declined,
    victim: { does: 'stands-still', at: 'durable-call.send.before', ...dying },
    mayOutlastSession: () => true,
    onlyWithKeys: true,
  },
  'stopped-before-settle': {
    kind: 'standstill',
    title: 'an owner has charged, and stands still; recovery finishes its purchase; then it goes on',
    path: recoveryPaths.paid,
    victim: { does: 'stands-still', at: 'durable-call.settle.before', ...dying },
    mayOutlastSession: never,
    onlyWithKeys: true,
  },
  'foreign-key': {
    title: "somebody confirms his order with another order's payment key, at the same moment",
    path: recoveryPaths.foreign,
    mayOutlastSession: never,
  },
} as const satisfies Record<string, FaultUnderTest>;

export type RecoveryFaultName = keyof typeof faults;

const recoveryFaults: Readonly<Record<RecoveryFaultName, FaultUnderTest>> = faults;

export const recoveryFaultNames = Object.keys(faults) as RecoveryFaultName[];

export const recoveryFaultTitles: Readonly<Record<string, string>> = Object.fromEntries(
  recoveryFaultNames.map((name) => [name, recoveryFaults[name].title]),
);

/** Whether it can show something else where the provider does not repeat its errors; a late answer is none. */
export function hangsOnErrors(name: RecoveryFaultName): boolean {
  const { kind = 'fault', path, delayMs } = recoveryFaults[name];
  return kind === 'fault' && path === undefined && delayMs === undefined;
}

/** The cell of a fault with one kind of provider; none where it has nothing to say about it. */
export function faultCell(name: RecoveryFaultName, provider: ProviderKind): RecoveryCell[] {
  const { title, kind = 'fault', delayMs = 0, victim, ...fault } = recoveryFaults[name];
  if (fault.onlyWithKeys && withoutKeys(provider)) return [];
  const { mayOutlastSession: _asIs, ...path }: RecoveryPath = fault.path ?? {
    title,
    ...(fault.faults === undefined ? {} : { faults: fault.faults }),
    paysAgain: true,
    ends: ['COMPLETE', 'WAITING'],
    expects: 'COMPLETE',
  };
  const cell: RecoveryCell = {
    ...{ kind, name, delayMs },
    path: fault.mayOutlastSession(provider) ? { ...path, mayOutlastSession: true } : path,
    sessionMs: delayMs > 0 ? LONG_SESSION_MS : recoveryTimes.sessionMs,
  };
  return [victim === undefined ? cell : { ...cell, victim }];
}
