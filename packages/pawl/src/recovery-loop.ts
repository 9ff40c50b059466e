export interface RecoveryLoopOptions {
  readonly everyMs: number;
  /** At a time. */
  readonly most: number;
  readonly jitter: number;
  /** Takes over at most so many calls. @returns what each is recovered by, which never rejects. */
  takeOver(most: number): Promise<readonly Promise<unknown>[]>;
  /** Forgets what may be forgotten, a bounded number at a time. Called once a minute. */
  sweep(): Promise<unknown>;
  readonly onFailed: (cause: unknown) => void;
}

const SWEEP_EVERY_MS = 60_000;

/**
 * Takes over, a bounded number at a time, for as long as it runs. One that takes long holds up none of the others; only when as many
 * as there may be are under way does nobody take over more.
 */
export class RecoveryLoop {
  readonly #options: RecoveryLoopOptions;
  readonly #underWay = new Set<Promise<unknown>>();
  #running: Promise<void> | undefined;
  #closed = false;
  #sweptAtMs = performance.now();
  #wake = Promise.withResolvers<void>();

  constructor(options: RecoveryLoopOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#closed) this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake.resolve();
    await this.#running;
    await Promise.all(this.#underWay);
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const took = await this.#takeOver();
      // As many as were asked for: there may be more.
      if (took) continue;
      await this.#sweep();
      await this.#pause();
    }
  }

  async #takeOver(): Promise<boolean> {
    const free = this.#options.most - this.#underWay.size;
    if (free <= 0) {
      await Promise.race(this.#underWay);
      return true;
    }
    try {
      const recovering = await this.#options.takeOver(free);
      for (const recovery of recovering) {
        const ended: Promise<unknown> = recovery.finally(() => this.#underWay.delete(ended));
        this.#underWay.add(ended);
      }
      return recovering.length === free;
    } catch (cause) {
      this.#options.onFailed(cause);
      return false;
    }
  }

  async #sweep(): Promise<void> {
    if (performance.now() - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = performance.now();
    try {
      await this.#options.sweep();
    } catch (cause) {
      this.#options.onFailed(cause);
    }
  }

  /** Not in step with the other instances. */
  async #pause(): Promise<void> {
    const { everyMs, jitter } = this.#options;
    const timer = setTimeout(() => this.#wake.resolve(), everyMs * (1 - jitter * Math.random()));
    await this.#wake.promise;
    clearTimeout(timer);
    if (!this.#closed) this.#wake = Promise.withResolvers();
  }
}
