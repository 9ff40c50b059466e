/** Something that is watched over, and its neighbours. */
export interface Watched<Item> {
  readonly item: Item;
  readonly beganAtMs: number;
  before: Watched<Item> | undefined;
  after: Watched<Item> | undefined;
  ended: boolean;
}

/**
 * Things that must not last longer than a certain time, the same for all. One timer watches over all of them: one each would
 * cost more than most of what it watches over. So would a Map, whose old tables, of many that come and go, drag what they
 * held into the old generation; a list lets go of what has left it.
 */
export class Deadlines<Item> {
  readonly #limitMs: number;
  readonly #tooLate: (item: Item) => void;
  /** The longest and the shortest of those that last. */
  #first: Watched<Item> | undefined;
  #last: Watched<Item> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param tooLate  Called with each thing that has lasted for `limitMs`, in milliseconds; it is forgotten by then. */
  constructor(limitMs: number, tooLate: (item: Item) => void) {
    this.#limitMs = limitMs;
    this.#tooLate = tooLate;
  }

  /** @returns what `delete` takes. */
  add(item: Item): Watched<Item> {
    const added = { item, beganAtMs: performance.now(), before: this.#last, after: undefined, ended: false };
    if (this.#last === undefined) this.#first = added;
    else this.#last.after = added;
    this.#last = added;
    this.#timer ??= this.#lookAfter(this.#limitMs);
    return added;
  }

  /** It has ended in time, or is too late. */
  delete(watched: Watched<Item>): void {
    if (watched.ended) return;
    watched.ended = true;
    const { before, after } = watched;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    watched.before = undefined;
    watched.after = undefined;
  }

  #lookAfter(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    try {
      for (let first = this.#first; first !== undefined; first = this.#first) {
        if (this.#leftMs(first) > 0) break;
        this.delete(first);
        this.#tooLate(first.item);
      }
    } finally {
      // Also where `tooLate` has thrown: the others have their time all the same.
      const first = this.#first;
      this.#timer = first === undefined ? undefined : this.#lookAfter(Math.max(0, this.#leftMs(first)));
    }
  }

  #leftMs({ beganAtMs }: Watched<Item>): number {
    return beganAtMs + this.#limitMs - performance.now();
  }
}
