/** How often each thing was seen, so that nobody has to believe that anything is explored. */
export class Counts {
  readonly #counts: Record<string, number> = {};

  saw(what: string, times = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + times;
  }

  add(others: Readonly<Record<string, number>>): void {
    for (const [what, times] of Object.entries(others)) this.saw(what, times);
  }

  get all(): Readonly<Record<string, number>> {
    return this.#counts;
  }
}
