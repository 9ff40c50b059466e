import type { ProviderFault } from './provider-faults.ts';

/** What the orders of a cell go through. */
export interface RecoveryPath {
  /** In a line. */
  title: string;
  /** What goes wrong at the provider, for each order. */
  faults?: readonly ProviderFault[];
  /** Its member pays with another key when he has been refused. */
  paysAgain?: true;
  /** Its member takes it back when it is paid. */
  takesBack?: true;
  /** Its round is drawn while it is being paid. */
  isDrawn?: true;
  /**
   * To each order there is a second one, which nobody may have paid in the end. `captured`: the provider takes the money for it all
   * the same. `foreign-key`: it is confirmed with the payment key of the first.
   */
  second?: 'captured' | 'foreign-key';
  /** The statuses that an order may end in, and the one that most of them must. */
  ends: readonly string[];
  expects: string;
  /** Confirming again does not settle it, so it may last until its session's end. */
  mayOutlastSession?: true;
}

/** Complete, or given back and not paid again. */
const PAID = { ends: ['COMPLETE', 'WAITING'], expects: 'COMPLETE' } as const;
const GIVEN_BACK = { ends: ['REFUNDED'], expects: 'REFUNDED' } as const;

const confirm = (when: 'before' | 'after', fault: ProviderFault['fault']): ProviderFault => ({
  operation: 'confirm',
  next: 1,
  when,
  fault,
});
/** The capture is made, and nobody hears of it. */
const answerLost = confirm('after', { kind: 'reset' });

export const recoveryPaths = {
  paid: { title: 'paid', ...PAID },
  declined: {
    title: 'declined, then paid with another key',
    faults: [confirm('before', { kind: 'code', code: 'REJECT_CARD_PAYMENT' })],
    paysAgain: true,
    ...PAID,
    mayOutlastSession: true,
  },
  'answer-lost': { title: 'captured, and the answer lost', faults: [answerLost], ...PAID },
  'request-lost': {
    title: 'not captured, and no answer',
    faults: [confirm('before', { kind: 'reset' })],
    ...PAID,
  },
  'look-up-fails': {
    title: 'captured, the answer lost, and look-ups fail',
    faults: [
      answerLost,
      { operation: 'lookup', next: 2, when: 'before', fault: { kind: 'status', status: 503 } },
    ],
    ...PAID,
  },
  'error-recorded': {
    title: 'an error that the provider repeats for ever under the key, then paid with another key',
    faults: [confirm('before', { kind: 'code', code: 'FAILED_INTERNAL_SYSTEM_PROCESSING' })],
    paysAgain: true,
    ...PAID,
    mayOutlastSession: true,
  },
  drawn: {
    title: 'its round drawn while the provider was at it',
    // Shorter than the client waits, longer than the lab takes to draw.
    faults: [confirm('after', { kind: 'slow', delayMs: 750 })],
    isDrawn: true,
    ends: ['REFUNDED', 'WAITING'],
    expects: 'REFUNDED',
  },
  'taken-back': { title: 'paid, then taken back by its member', takesBack: true, ...GIVEN_BACK },
  'refund-lost': {
    title: "paid, then taken back, and the refund's answer lost",
    faults: [{ operation: 'cancel', next: 1, when: 'after', fault: { kind: 'reset' } }],
    takesBack: true,
    ...GIVEN_BACK,
  },
  stray: { title: 'paid, and as many captured that nobody was paying', second: 'captured', ...PAID },
  foreign: {
    title: 'paid, and as many confirmed with the payment keys of these',
    second: 'foreign-key',
    ...PAID,
  },
} as const satisfies Record<string, RecoveryPath>;

export type RecoveryPathName = keyof typeof recoveryPaths;
