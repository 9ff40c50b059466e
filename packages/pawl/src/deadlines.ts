/**
 * Things that must not last longer than a certain time, the same for all. One timer watches over all of them: one each would
 * cost more than most of what it watches over.
 */
export class Deadlines<Item> {
  readonly #limitMs: number;
  readonly #tooLate: (item: Item) => void;
  /** With the moment of its beginning, in that order. */
  readonly #items = new Map<Item, number>();
  #timer: NodeJS.Timeout | undefined;

  /** @param tooLate  Called with each thing that has lasted for `limitMs`, in milliseconds; it is forgotten by then. */
  constructor(limitMs: number, tooLate: (item: Item) => void) {
    this.#limitMs = limitMs;
    this.#tooLate = tooLate;
  }

  add(item: Item): void {
    this.#items.set(item, performance.now());
    this.#timer ??= this.#lookAfter(this.#limitMs);
  }

  delete(item: Item): void {
    this.#items.delete(item);
  }

  #lookAfter(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#timer = undefined;
    for (const [item, beganAtMs] of this.#items) {
      const leftMs = beganAtMs + this.#limitMs - performance.now();
      if (leftMs > 0) {
        this.#timer = this.#lookAfter(leftMs);
        return;
      }
      this.#items.delete(item);
      this.#tooLate(item);
    }
  }
}
