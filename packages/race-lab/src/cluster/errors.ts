/** The run cannot be set up as asked. Whatever had been started was ended before this was thrown. */
export class ClusterSetupError extends Error {
  override readonly name = 'ClusterSetupError';
  readonly code:
    | 'BAD_OPTION'
    | 'UNSUPPORTED_PLATFORM'
    | 'NOT_A_CHECKOUT'
    | 'NO_TEMPORARY_DIRECTORY'
    | 'POSTGRES_MISSING'
    | 'POSTGRES_NOT_RUNNABLE'
    | 'MARIADB_MISSING'
    | 'NO_UNPRIVILEGED_USER'
    | 'DATABASE_UNREACHABLE';

  constructor(code: ClusterSetupError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A port that the caller fixed cannot be opened. Nothing listens on it for us. */
export class PortTakenError extends Error {
  override readonly name = 'PortTakenError';
  readonly code: 'PORT_TAKEN' | 'PORT_FORBIDDEN';
  readonly port: number;

  /** @param option  The option that changes the port, as the user writes it. */
  constructor(code: PortTakenError['code'], port: number, option: string) {
    const why = code === 'PORT_TAKEN' ? 'is taken by another process' : 'may not be opened by this user';
    super(`port ${port} ${why}; choose another with ${option}`);
    this.code = code;
    this.port = port;
  }
}

/** A server did not become ready. It no longer runs. */
export class ServerStartError extends Error {
  override readonly name = 'ServerStartError';
  readonly code: 'SERVER_ENDED' | 'START_TIMED_OUT' | 'SPAWN_FAILED';
  readonly server: string;
  /** The last lines that it wrote, empty when it wrote none. */
  readonly logTail: string;

  constructor(
    code: ServerStartError['code'],
    server: string,
    what: string,
    logTail: string,
    options?: ErrorOptions,
  ) {
    super(
      logTail === '' ? `${server} ${what}` : `${server} ${what}; its last lines:\n${indent(logTail)}`,
      options,
    );
    this.code = code;
    this.server = server;
    this.logTail = logTail;
  }
}

/** The guardian process died. Every server that it had started was killed and the directory removed. */
export class GuardianLostError extends Error {
  override readonly name = 'GuardianLostError';
  readonly code = 'GUARDIAN_LOST';
}

/** The servers have ended, but something outside could not be cleared away. */
export class LeftBehindError extends Error {
  override readonly name = 'LeftBehindError';
  readonly code = 'LEFT_BEHIND';
  /** One sentence for each thing. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options);
    this.problems = problems;
  }
}

function indent(lines: string): string {
  return lines.replaceAll(/^/gm, '  ');
}
