/**
 * Every failpoint of the library, each at exactly one line of it: `<guard>.<step>.<when>`.
 *
 * A step is `before` its first statement or request, `within` its transaction just before the COMMIT, or `after` its
 * outcome is known here and before anything else happens.
 */
export const failpointNames = [
  /** The claim, with the intent to send: one transaction. */
  'durable-call.claim.before',
  'durable-call.claim.within',
  'durable-call.claim.after',
  /** The call to the other side. */
  'durable-call.send.before',
  'durable-call.send.after',
  /** The other side has done it: the caller's rows and the answer, in one transaction. */
  'durable-call.settle.before',
  'durable-call.settle.within',
  'durable-call.settle.after',
  /** The other side has declined: the owner lets go. */
  'durable-call.decline.before',
  'durable-call.decline.within',
  'durable-call.decline.after',
  /** Nobody knows whether the other side has done it: that is written down. */
  'durable-call.unknown.before',
  'durable-call.unknown.after',
  /** Nothing was sent: the claim is undone. */
  'durable-call.forget.before',
  'durable-call.forget.after',
  /** Recovery claims a call whose lease has run out. */
  'durable-call.take-over.before',
  'durable-call.take-over.after',
  /** Recovery asks the other side what became of the call. */
  'durable-call.look-up.before',
  'durable-call.look-up.after',
  /** Recovery sends the call again, under the same key. */
  'durable-call.send-again.before',
  'durable-call.send-again.after',
  /** Recovery knows no more than before: it writes down that it must look again. */
  'durable-call.wait.before',
  'durable-call.wait.after',
  /** Recovery knows that the other side has not done it, and lets go. */
  'durable-call.release.before',
  'durable-call.release.within',
  'durable-call.release.after',
  /** What the other side has done must be undone: that is written down. */
  'compensation.begin.before',
  'compensation.begin.within',
  'compensation.begin.after',
  /** What was done before is taken back: that is written down. */
  'compensation.reopen.before',
  'compensation.reopen.within',
  'compensation.reopen.after',
  /** What was found without its intent must be undone: that is written down. */
  'compensation.adopt.before',
  'compensation.adopt.within',
  'compensation.adopt.after',
  /** The other side is asked whether it is undone already. */
  'compensation.look-up.before',
  'compensation.look-up.after',
  /** The request to undo it. */
  'compensation.send.before',
  'compensation.send.after',
  /** It is undone: the caller's rows, in one transaction. */
  'compensation.end.before',
  'compensation.end.within',
  'compensation.end.after',
  /** Nobody knows whether it is undone: it must be looked at again. */
  'compensation.wait.before',
  'compensation.wait.after',
] as const;

export type FailpointName = (typeof failpointNames)[number];
