import type { WriteStream } from 'node:tty';

/** Where a command writes: its result, and beside it what it is doing. */
export interface Terminal {
  /** Writes lines of the result to standard output. */
  print(...lines: string[]): void;
  /**
   * Shows on standard error what is being done, in place of what was shown before; the empty text ends it.
   * Where that is not a terminal, each new step gets one line.
   */
  progress(text: string): void;
}

export function openTerminal(out: NodeJS.WritableStream, err: NodeJS.WritableStream | WriteStream): Terminal {
  const live = 'isTTY' in err && err.isTTY;
  let shown = '';
  const step = (text: string) => text.replace(/:.*/s, '');
  return {
    print: (...lines) => out.write(`${lines.join('\n')}\n`),
    progress(text) {
      if (live) err.write(`\r\x1b[2K${text.slice(0, (err as WriteStream).columns - 1)}`);
      else if (text !== '' && step(text) !== step(shown)) err.write(`${step(text)}\n`);
      shown = text;
    },
  };
}
