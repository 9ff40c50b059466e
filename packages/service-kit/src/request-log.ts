import type { FastifyBaseLogger } from 'fastify';

type Child = FastifyBaseLogger['child'];
type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
type Line = readonly [object: unknown, message?: string, ...unknown[]];

/**
 * The log of one request, with its bindings: made when something is first written. Most requests write nothing, and to make one, with
 * all that is blacked out in it, costs as much as to route the request.
 */
export function requestLog(log: FastifyBaseLogger, ...child: Parameters<Child>): FastifyBaseLogger {
  return new RequestLog(log, child);
}

class RequestLog implements FastifyBaseLogger {
  readonly #log: FastifyBaseLogger & { isLevelEnabled?(level: string): boolean };
  readonly #child: Parameters<Child>;
  #made: FastifyBaseLogger | undefined;

  constructor(log: FastifyBaseLogger, child: Parameters<Child>) {
    this.#log = log;
    this.#child = child;
  }

  get level(): string {
    return (this.#made ?? this.#log).level;
  }

  set level(level: string) {
    this.#make().level = level;
  }

  child(...options: Parameters<Child>): FastifyBaseLogger {
    return this.#make().child(...options);
  }

  fatal(...line: Line): void {
    this.#write('fatal', line);
  }

  error(...line: Line): void {
    this.#write('error', line);
  }

  warn(...line: Line): void {
    this.#write('warn', line);
  }

  info(...line: Line): void {
    this.#write('info', line);
  }

  debug(...line: Line): void {
    this.#write('debug', line);
  }

  trace(...line: Line): void {
    this.#write('trace', line);
  }

  silent(): undefined {
    return undefined;
  }

  #make(): FastifyBaseLogger {
    this.#made ??= this.#log.child(...this.#child);
    return this.#made;
  }

  #write(level: Level, line: Line): void {
    // The log of a request may be more talkative than that of the service, but only once it has been made.
    if (this.#made === undefined && this.#log.isLevelEnabled?.(level) === false) return;
    this.#make()[level](...(line as [unknown, string?, ...unknown[]]));
  }
}
