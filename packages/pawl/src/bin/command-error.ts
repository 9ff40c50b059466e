/** What a command ends with. @see https://github.com/jepsen-io/jepsen, whose exit codes these are */
export const exitCodes = {
  DONE: 0,
  /** What is there does not allow it. Nothing was changed. */
  REFUSED: 1,
  /** The connection was lost before the answer came. */
  UNKNOWN: 2,
  /** Nothing was started. */
  BAD_ARGUMENTS: 254,
  FAILED: 255,
} as const;

/** A command did not do what it was asked, and `message` says why, in one line, to whoever called it. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: Exclude<keyof typeof exitCodes, 'DONE'>;

  constructor(code: CommandError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
