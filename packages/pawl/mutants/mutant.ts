/** A test, by its file, from the root of the package, and its name as vitest prints it: `mariadb > unique claim > …`. */
export interface NamedTest {
  readonly file: string;
  readonly name: string;
}

/** A line of the library on which its promise hangs, and the test that fails without it. */
export interface Mutant {
  /** From the root of the package. */
  readonly file: string;
  /** A line, or the decisive part of one, that occurs once in the file; with its neighbours where it alone would not. */
  readonly line: string;
  /** What stands there instead: the code as if nobody had thought of it. Absent: nothing. */
  readonly replacement?: string;
  /** What is lost with it, in a few words. */
  readonly why: string;
  readonly test: NamedTest;
}
