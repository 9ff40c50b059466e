/** What has to be undone at the end, in reverse order. */
export class Closers {
  readonly #closers: (() => Promise<void>)[] = [];

  add(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  /**
   * Runs `work`, and then undoes everything, whatever came of it: one thing that cannot be undone does not keep the others.
   *
   * @throws what `work` threw, or else why the first of them could not be undone.
   */
  async around(work: () => Promise<void>): Promise<void> {
    const problems: unknown[] = [];
    const tried = (step: () => Promise<void>) => step().catch((error: unknown) => problems.push(error));
    await tried(work);
    for (const close of this.#closers.toReversed()) await tried(close);
    if (problems.length > 0) throw problems[0];
  }
}
