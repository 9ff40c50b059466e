import { setTimeout as sleep } from 'node:timers/promises';
import { type Refused, refused } from './outcome.ts';
import { nextTurn } from './timers.ts';

/** Who asks for a row. */
export interface RowRequest {
  readonly key: string;
  readonly arrivedAtMs: number;
  /** When the row was first found to be another's. */
  heldAtMs: number | undefined;
  resolve(refusal: Refused<'lock-timeout' | 'overloaded'>): void;
}

export interface HeldRowsOptions<Request> {
  /** How long a row is waited for, in milliseconds. */
  readonly lockWaitMs: number;
  /** How many rows are waited for at once. */
  readonly maxHeldKeys: number;
  /** Most that wait for one row. */
  readonly longestLine: number;
  /** Whether the time of who waits began when he came, and not when the row was found to be another's. */
  readonly sinceArrival: boolean;
  /**
   * Carries out a transaction for the first of a line, which it takes out of it, and waits for the row, or not at all. Never rejects.
   *
   * @returns them.
   */
  readonly commit: (line: Request[], waits: boolean) => Promise<readonly Request[]>;
  /** The line of a row is over: these go with the others again. */
  readonly giveBack: (line: readonly Request[]) => void;
}

/**
 * After so many turns a line is over, and those who ask for its row go with the others again: it may long be nobody else's. Where it is,
 * each time costs a transaction that finds nothing.
 */
const MOST_TURNS = 16;
/** Before a row is tried again that was another's once more although it had been waited for, in milliseconds. */
const HELD_PAUSE_MS = 10;

/** Those who wait for a row. */
interface Line<Request> {
  readonly requests: Request[];
  /** How often it was served. */
  turns: number;
  /** Whether it is not known that the row is another's: then it is tried first. */
  isUnsure: boolean;
}

/** Rows that somebody else has, each with the line of those who wait for it, apart from all others. */
export class HeldRows<Request extends RowRequest> {
  readonly #options: HeldRowsOptions<Request>;
  readonly #lines = new Map<string, Line<Request>>();
  /** The keys of the lines whose turn is to come, in order. */
  readonly #turns: string[] = [];
  #serving = 0;

  constructor(options: HeldRowsOptions<Request>) {
    this.#options = options;
  }

  /** How many rows are waited for. */
  get size(): number {
    return this.#lines.size;
  }

  /**
   * Nobody overtakes those who wait for the same row. `free`: nobody does; `full`: too many do.
   *
   * @param heldAtMs  Since when he has waited for it.
   */
  join(request: Request, heldAtMs: number): 'joined' | 'full' | 'free' {
    const line = this.#lines.size > 0 ? this.#lines.get(request.key)?.requests : undefined;
    if (line === undefined) return 'free';
    if (line.length >= this.#options.longestLine) return 'full';
    request.heldAtMs = heldAtMs;
    line.push(request);
    return 'joined';
  }

  /**
   * Somebody else has their rows. Who has waited for as long as he may is refused, and so is who comes to a line that is full.
   *
   * @param areUnsure  Somebody else has one of them, and nobody knows which.
   * @returns how many of them wait.
   */
  hold(requests: readonly Request[], areUnsure: boolean): number {
    const { lockWaitMs, sinceArrival, longestLine } = this.#options;
    const now = performance.now();
    let waiting = 0;
    for (const request of requests) {
      const line = this.#lines.get(request.key)?.requests;
      const isNew = request.heldAtMs === undefined;
      request.heldAtMs ??= sinceArrival ? request.arrivedAtMs : now;
      if (now - request.heldAtMs >= lockWaitMs) request.resolve(refused('lock-timeout'));
      else if (isNew && line !== undefined && line.length >= longestLine)
        request.resolve(refused('overloaded'));
      else {
        waiting++;
        this.#place(request, line, areUnsure);
      }
    }
    this.#serveNext();
    return waiting;
  }

  #place(request: Request, line: Request[] | undefined, isUnsure: boolean): void {
    if (line === undefined) {
      this.#lines.set(request.key, { requests: [request], turns: 0, isUnsure });
      this.#turns.push(request.key);
      return;
    }
    // Before those that have come after it.
    const after = line.findIndex(({ arrivedAtMs }) => arrivedAtMs > request.arrivedAtMs);
    line.splice(after === -1 ? line.length : after, 0, request);
  }

  #serveNext(): void {
    while (this.#serving < this.#options.maxHeldKeys) {
      const key = this.#turns.shift();
      if (key === undefined) return;
      this.#serving++;
      void this.#serve(key, this.#lines.get(key) as Line<Request>);
    }
  }

  /** One transaction for those who ask for a row that somebody else has had; then it is another row's turn. */
  async #serve(key: string, line: Line<Request>): Promise<void> {
    const { requests } = line;
    await nextTurn();
    const waits = !line.isUnsure;
    line.isUnsure = false;
    const tried = new Set(await this.#options.commit(requests, waits));
    // It was waited for, and was another's again.
    if (requests.some((request) => tried.has(request))) await sleep(HELD_PAUSE_MS);
    // Who asks again for what he has been told wait in the line: they would be passed over once more.
    else await nextTurn();
    line.turns++;
    if (requests.length > 0 && line.turns < MOST_TURNS) this.#turns.push(key);
    else {
      this.#lines.delete(key);
      this.#options.giveBack(requests);
    }
    this.#serving--;
    this.#serveNext();
  }
}
