/** One thing that must hold, for any test runner: `for (const { name, run } of cases) test(name, run)`. */
export interface ConformanceCase {
  readonly name: string;
  /**
   * Resolves when it holds. It has then left nothing behind, nor has it when it does not.
   *
   * @throws AssertionError  What does not hold.
   */
  run(): Promise<void>;
}
